# SPDX-License-Identifier: Apache-2.0
# `colcon test` runs the pytest suite against the installed package.
find_package(ament_cmake_pytest QUIET)
