# SPDX-License-Identifier: Apache-2.0
"""Names of everyday things: the 133 classes of COCO panoptic, in words as people say them."""

# The order is that of the data set (Lin et al., 2014; Kirillov et al., 2019; cocodataset.org):
# 80 things, then 53 kinds of stuff, whose names ("wall-other-merged") are rewritten here.
THINGS = (
    'person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, '
    'fire hydrant, stop sign, parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, '
    'bear, zebra, giraffe, backpack, umbrella, handbag, tie, suitcase, frisbee, skis, snowboard, '
    'sports ball, kite, baseball bat, baseball glove, skateboard, surfboard, tennis racket, '
    'bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, '
    'broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, '
    'dining table, toilet, tv, laptop, mouse, remote, keyboard, cell phone, microwave, oven, '
    'toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear, hair drier, toothbrush'
)
STUFF = (
    'banner, blanket, bridge, cardboard, counter, curtain, door, wooden floor, flower, fruit, '
    'gravel, house, light, mirror, net, pillow, platform, playing field, railroad, river, road, '
    'roof, sand, sea, shelf, snow, stairs, tent, towel, brick wall, stone wall, tiled wall, '
    'wooden wall, water, window blind, window, tree, fence, ceiling, sky, cabinet, table, floor, '
    'pavement, mountain, grass, dirt, paper, food, building, rock, wall, rug'
)
COCO = tuple(f'{THINGS}, {STUFF}'.split(', '))
