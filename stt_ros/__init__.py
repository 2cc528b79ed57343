# SPDX-License-Identifier: Apache-2.0
"""Point at something in a picture, get the mask of the thing that was meant."""

from pkgutil import extend_path

__version__ = '0.1.0'

# The generated stt_ros.msg and stt_ros.srv are in the installed package only. With this, Python
# started in a checkout finds them behind the sources instead of failing.
__path__ = extend_path(__path__, __name__)
