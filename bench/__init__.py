# SPDX-License-Identifier: Apache-2.0
"""How fast things are, beside a straightforward implementation in the same run."""
