# SPDX-License-Identifier: Apache-2.0
"""A result as a picture: medians as bars, 95th percentiles as whiskers."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

# Of a row: the column that is drawn, its whisker's, the columns that tell lines apart, and along x.
COLUMNS = {
    'stages': ('median', 'p95', ('stage', 'engine', 'model'), 'image'),
    'node': ('p50', 'p95', ('image', 'transport'), 'camera'),
}
_BASELINE = 'baseline median'


def draw(result: dict, path: Path) -> None:
    """Write a result of the stages or of the node as a PNG."""
    value, whisker, names, along = COLUMNS[result['bench']]
    rows = next(iter(result['tables'].values()))
    groups: dict[str, list[dict]] = {}
    for row in rows:
        title = ', '.join(row[name] for name in names if row[name] != '-')
        groups.setdefault(title, []).append(row)
    columns = min(4, len(groups))
    lines = -(-len(groups) // columns)
    figure = Figure(figsize=(4.2 * columns, 3.2 * lines), layout='constrained')
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, (title, group) in zip(panels, groups.items(), strict=False):
        _bars(axes, group, value, whisker, along)
        axes.set_title(title, fontsize=9)
    for axes in panels[len(groups) :]:
        axes.set_axis_off()
    panels[0].legend(fontsize=8)
    environment = result['environment']
    figure.suptitle(f'{environment["processor"]}; {environment["versions"]}', fontsize=8)
    figure.savefig(path, format='png', dpi=110)


def _bars(axes, rows: list[dict], value: str, whisker: str, along: str) -> None:
    places = range(len(rows))
    heights = [row[value] for row in rows]
    above = [[0] * len(rows), [max(0, row[whisker] - row[value]) for row in rows]]
    base = [row.get(_BASELINE) for row in rows]
    axes.bar(places, heights, 0.4, yerr=above, capsize=3, label='stt_ros: median, p95')
    if any(base):
        axes.bar([p + 0.4 for p in places], [b or 0 for b in base], 0.4, label='baseline: median')
    axes.set_xticks(list(places), [row[along] for row in rows], fontsize=7)
    axes.set_ylabel('ms', fontsize=8)
