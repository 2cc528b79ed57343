# SPDX-License-Identifier: Apache-2.0
"""Cut-outs of 3-D models: each seen from several sides, in several lights, as PNG with alpha.

    python -m training.render MODELS OUT [--views 4]

MODELS is a folder with OBJ files anywhere below (with their MTL and textures, y upwards); needs
``pip install pyvista``. A model that cannot be read is named and left out.
"""

from __future__ import annotations

import argparse
import multiprocessing
from pathlib import Path

import cv2
import numpy as np
import pyvista as pv
from tqdm import tqdm

SIDE = 480  # px of a rendering; the thing fills most of it


def views(path: Path, rng: np.random.Generator, count: int):
    """Yield ``count`` RGBA pictures (h, w, 4) uint8 of a model, cut to what is seen."""
    plotter = pv.Plotter(off_screen=True, window_size=(SIDE, SIDE), lighting='none')
    try:
        material = path.with_suffix('.mtl')
        plotter.import_obj(path, material if material.exists() else None)
        for actor in plotter.renderer.actors.values():
            actor.GetProperty().SetAmbient(rng.uniform(0.15, 0.35))
            actor.GetProperty().SetDiffuse(rng.uniform(0.6, 0.8))
        plotter.enable_anti_aliasing('ssaa')
        for _ in range(count):
            yield _view(plotter, rng)
    finally:
        plotter.close()


def _view(plotter: pv.Plotter, rng: np.random.Generator) -> np.ndarray:
    plotter.remove_all_lights()
    for brightness in (rng.uniform(0.7, 1.4), rng.uniform(0.2, 0.7)):
        where = (rng.normal(0, 2), rng.uniform(0.2, 3), rng.uniform(0.2, 2))
        plotter.add_light(pv.Light(position=where, light_type='camera light', intensity=brightness))
    turn, height = rng.uniform(0, 2 * np.pi), np.clip(rng.normal(0.35, 0.3), -0.3, 1.4)
    level = np.cos(height)
    plotter.camera_position = [
        (level * np.sin(turn), np.sin(height), level * np.cos(turn)),
        (0, 0, 0),
        (0, 1, 0),
    ]
    plotter.camera.view_angle = rng.uniform(18, 50)
    plotter.reset_camera(bounds=plotter.renderer.ComputeVisiblePropBounds())
    plotter.camera.zoom(1.3)
    image = plotter.screenshot(None, transparent_background=True, return_img=True)
    x, y, w, h = cv2.boundingRect(np.ascontiguousarray(image[..., 3]))
    return image[y : y + h, x : x + w]


def render(path: Path, args: argparse.Namespace, number: int):
    """Write the views of a model as ``<number>_<view>.png``."""
    rng = np.random.default_rng([args.seed, number])
    for k, image in enumerate(views(path, rng, args.views)):
        if min(image.shape[:2]) >= 24:
            cv2.imwrite(str(args.out / f'{number:05d}_{k}.png'), image[..., [2, 1, 0, 3]])


def main(arguments: list[str] | None = None):
    p = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    p.add_argument('models', type=Path)
    p.add_argument('out', type=Path)
    p.add_argument('--views', type=int, default=4)
    p.add_argument('--seed', type=int, default=1)
    args = p.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    context = multiprocessing.get_context('fork')  # a broken model may end the whole process
    for number, path in enumerate(tqdm(sorted(args.models.rglob('*.obj')))):
        job = context.Process(target=render, args=(path, args, number))
        job.start()
        job.join()
        if job.exitcode:
            tqdm.write(f'{path} could not be rendered ({job.exitcode})')


if __name__ == '__main__':
    main()
