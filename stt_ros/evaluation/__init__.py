# SPDX-License-Identifier: Apache-2.0
"""How well prompts find things: measured on pictures with true masks."""
