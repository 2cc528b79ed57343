# SPDX-License-Identifier: Apache-2.0
# For the build against the ROS 2 wheels from PyPI only; a robot's build never reads this file.
# The CMake packages in those wheels name include directories of the machine that built the wheels,
# and CMake refuses imported targets whose directories do not exist. Drop these after each
# find_package(). Handed to CMake as -DCMAKE_PROJECT_INCLUDE=<this file>.

macro(find_package)
  _find_package(${ARGV})
  stt_strip_missing_includes()
endmacro()

function(stt_strip_missing_includes)
  get_property(targets DIRECTORY PROPERTY IMPORTED_TARGETS)
  foreach(target IN LISTS targets)
    foreach(property INTERFACE_INCLUDE_DIRECTORIES INTERFACE_SYSTEM_INCLUDE_DIRECTORIES)
      get_target_property(directories ${target} ${property})
      if(NOT directories)
        continue()
      endif()
      set(existing "")
      foreach(directory IN LISTS directories)
        # Generator expressions and relative paths are not ours to judge.
        if(NOT IS_ABSOLUTE "${directory}" OR EXISTS "${directory}")
          list(APPEND existing "${directory}")
        endif()
      endforeach()
      set_target_properties(${target} PROPERTIES ${property} "${existing}")
    endforeach()
  endforeach()
endfunction()
