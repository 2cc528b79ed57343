# SPDX-License-Identifier: Apache-2.0
# `colcon test` runs the pytest suite against the installed package. The working directory is the
# build's: from the source tree, `python -m pytest` would import the sources, which have no messages.
find_package(ament_cmake_pytest QUIET)
if(ament_cmake_pytest_FOUND)
  ament_add_pytest_test(pytest test
    TIMEOUT 900
    WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
  )
else()
  # ROS 2 from PyPI has no ament_cmake_pytest: the same through CTest.
  find_package(Python3 REQUIRED COMPONENTS Interpreter)
  set(results "${CMAKE_CURRENT_BINARY_DIR}/test_results/${PROJECT_NAME}/pytest.xunit.xml")
  add_test(NAME pytest
    COMMAND "${Python3_EXECUTABLE}" -u -m pytest "${CMAKE_CURRENT_SOURCE_DIR}/test"
      "--junit-xml=${results}" "--junit-prefix=${PROJECT_NAME}" -p no:cacheprovider
    WORKING_DIRECTORY "${CMAKE_CURRENT_BINARY_DIR}"
  )
  set_tests_properties(pytest PROPERTIES TIMEOUT 900 ENVIRONMENT_MODIFICATION
    "PYTHONPATH=path_list_prepend:${CMAKE_INSTALL_PREFIX}/${STT_PYTHON_DIR};\
LD_LIBRARY_PATH=path_list_prepend:${CMAKE_INSTALL_PREFIX}/lib;\
AMENT_PREFIX_PATH=path_list_prepend:${CMAKE_INSTALL_PREFIX}"
  )
endif()
