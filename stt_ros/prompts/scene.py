# SPDX-License-Identifier: Apache-2.0
"""All that was seen for prompts that mean the same thing, and what they say of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stt_ros.prompts.base import Candidate, Prompt
from stt_ros.prompts.negatives import trim
from stt_ros.prompts.region import Region, hull, inner

Look = tuple[Candidate, ...]  # the candidates of one gaze, the most likely first

LOWEST = 0.05  # predicted IoUs below count as this
TRUST = 2  # power of the predicted IoU in a candidate's weight: the sure ones count more
DOUBT = 0.01  # added to agreements in weights, so that somebody votes when nobody agrees
FLOOR = 1e-3  # an agreement of 0 still ranks masks by the other prompts
LEVELS = (0.2, 0.3, 0.4, 0.5, 0.6)  # shares of the votes that make a pixel part of a union


class Scene:
    """Candidates of several prompts' looks, weighed by what the prompts say of them.

    Every candidate is a guess at the truth, as likely as its weight: the product of the prompts'
    agreements and a power of the predicted IoU. A mask is good when the prompts agree with it and
    its expected IoU with those guesses is high. ``local`` prompts choose among the masks and weigh
    no guesses beside others: the masks that hold a point crowd around it, and the rest of the
    thing would be outvoted.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        looks: Sequence[Sequence[Look]],
        away: Sequence[Sequence[Look]] = (),
    ) -> None:
        """Take per prompt its looks at the thing, and those at its negative points."""
        self.prompts = list(prompts)
        self.negatives = all_negatives(prompts)
        unique = _by_gaze(looks)
        seen = [c for look in unique for c in look if c.area]
        seeds = [seed for prompt in prompts for seed in getattr(prompt, 'seeds', ())]
        seen += sorted(seeds, key=lambda seed: (seed.box, seed.area))
        if len(self.negatives):
            others = _by_gaze(away)
            seen = [trim(c, others, lambda r: product(self.agreements(r), len(r))) for c in seen]
        # Agreement counts before the limits cut a leaking candidate down to a fitting one.
        agreed = product(self._weighing(self.agreements(seen)), len(seen))
        likely = np.array([max(c.predicted_iou, LOWEST) for c in seen]).reshape(-1)
        weights = (agreed + DOUBT) * likely**TRUST
        limits = [p.limits for p in prompts if getattr(p, 'limits', None) is not None]
        limited = [_limited(candidate, limits) for candidate in seen]
        self.candidates = [c for c in limited if c.area]
        self.weights = weights[[k for k, c in enumerate(limited) if c.area]]
        self.alone = len(unique) == 1 and not seeds

    def agreements(self, regions: Sequence[Candidate]) -> list[np.ndarray | None]:
        """Return what each prompt says of masks: (R,) in [0, 1], or None: it abstains."""
        if not regions:
            return [np.empty(0) for _ in self.prompts]
        said = [prompt.score(regions) for prompt in self.prompts]
        return [None if a is None else np.clip(np.asarray(a, float), 0, 1) for a in said]

    def _weighing(self, said: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """Return what those prompts said whose word weighs guesses."""
        voted = [(p, a) for p, a in zip(self.prompts, said, strict=True) if a is not None]
        wide = [a for p, a in voted if not getattr(p, 'local', False)]
        return wide or [a for _, a in voted]

    def ranks(self, regions: Sequence[Candidate]) -> np.ndarray:
        """Return how good masks are, all in all: (R,)."""
        return self._agreed(regions) * [self._expected_iou(region) for region in regions]

    def best(self, regions: Sequence[Candidate]) -> Candidate:
        """Return the mask of the highest rank, of equals the first."""
        agreed = self._agreed(regions)
        ranks = np.full(len(regions), -1.0)
        for k in np.argsort(-agreed, kind='stable'):
            # An expected IoU is 1 at most, so most of hundreds need no comparison with all guesses.
            if agreed[k] < ranks.max() and not self.alone:
                break
            ranks[k] = agreed[k] * self._expected_iou(regions[k])
        return regions[int(ranks.argmax())]

    def _agreed(self, regions: Sequence[Candidate]) -> np.ndarray:
        """Return what all prompts together say of masks: (R,) in (0, 1]."""
        said = [None if a is None else np.maximum(a, FLOOR) for a in self.agreements(regions)]
        return product(said, len(regions))

    def unions(self, members: Sequence[int] | None = None) -> list[Candidate]:
        """Return where candidates agree, by the shares of the votes in ``LEVELS``.

        ``members`` are the numbers of those that vote; None: all.
        """
        members = range(len(self.candidates)) if members is None else members
        if self.alone or not len(members):
            return []
        voters = [self.candidates[k] for k in members]
        shares = self.weights[list(members)] / self.weights[list(members)].sum()
        box, votes = _votes(voters, shares)
        first = voters[int(shares.argmax())]
        stability = float(shares @ [c.stability for c in voters])
        iou = float(shares @ [max(c.predicted_iou, LOWEST) for c in voters])
        regions = [Region.of_mask(votes > level, box[:2]) for level in LEVELS]
        return [Candidate(r.box, r.crop, first.gaze, iou, stability) for r in regions if r.area]

    def joined(self, candidate: Candidate) -> Candidate:
        """Return the union of what agrees with a candidate if the prompts agree better with it.

        What agrees with it shares at least half of itself with it, or half of it.
        """
        members = [
            k
            for k, other in enumerate(self.candidates)
            if 2 * candidate.shared_area(other) >= min(candidate.area, other.area)
        ]
        pool = [candidate, *self.unions(members)]
        agreed = product(self.agreements(pool), len(pool))
        return pool[int(agreed.argmax())]

    def _expected_iou(self, region: Region) -> float:
        if self.alone:  # one look: the network knows best
            return max(region.predicted_iou, LOWEST)
        ious = [region.iou(candidate) for candidate in self.candidates]
        return float(self.weights @ ious / self.weights.sum())


def _votes(candidates: Sequence[Candidate], shares: np.ndarray):
    """Return a box around candidates, and which share of them holds each pixel in it."""
    box = (0, 0, 0, 0)
    for candidate in candidates:
        box = hull(box, candidate.box)
    votes = np.zeros((box[3], box[2]), np.float32)
    for share, candidate in zip(shares, candidates, strict=True):
        votes[inner(candidate.box, box)] += np.float32(share) * candidate.crop
    return box, votes


def all_negatives(prompts: Sequence[Prompt]) -> np.ndarray:
    """Return the points (K, 2) that some prompt has outside the thing."""
    points = [np.asarray(getattr(p, 'negatives', ()), float).reshape(-1, 2) for p in prompts]
    return np.unique(np.concatenate(points), axis=0)


def product(said: Sequence[np.ndarray | None], count: int) -> np.ndarray:
    """Return the product of what was said, (count,); those that abstain do not count."""
    voted = [a for a in said if a is not None]
    # Sorted, so that not even the last digit depends on the prompts' order.
    return np.prod(np.sort(voted, axis=0), axis=0) if voted else np.ones(count)


def _by_gaze(looks: Sequence[Sequence[Look]]) -> list[Look]:
    unique = {look[0].gaze: look for own in looks for look in own}
    return [unique[gaze] for gaze in sorted(unique)]


def _limited(candidate: Candidate, limits: Sequence[Region]) -> Candidate:
    for limit in limits:
        if candidate.shared_area(limit) < candidate.area:
            candidate = candidate.reshaped(candidate.within(limit))
    return candidate
