# SPDX-License-Identifier: Apache-2.0
"""How the default model is made: scenes, trainer, evaluator. Not needed at run time."""
