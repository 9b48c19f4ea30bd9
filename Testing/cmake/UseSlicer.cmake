# Slicer's macros for scripted modules, reduced to what a test can see: every listed file must exist and is staged
# where Slicer's build puts it. "cmake --install" then yields the package.
option(BUILD_TESTING "Test the extension" ON)
enable_testing()
include(CMakeParseArguments)

function(dsarecon_stage_file target file destination)
  set(source "${CMAKE_CURRENT_SOURCE_DIR}/${file}")
  if(NOT EXISTS "${source}" OR IS_DIRECTORY "${source}")
    message(FATAL_ERROR "${target}: listed, but not there: ${file}")
  endif()
  get_filename_component(folder "${file}" DIRECTORY)
  file(COPY "${source}" DESTINATION "${destination}/${folder}")
endfunction()

macro(ctkMacroCompilePythonScript)
  cmake_parse_arguments(CTK_STAGE
    "NO_INSTALL_SUBDIR;GLOBAL_TARGET" "TARGET_NAME;SOURCE_DIR;DESTINATION_DIR;INSTALL_DIR" "SCRIPTS;RESOURCES" ${ARGN})
  if(CTK_STAGE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "ctkMacroCompilePythonScript does not know: ${CTK_STAGE_UNPARSED_ARGUMENTS}")
  endif()
  foreach(name TARGET_NAME SCRIPTS DESTINATION_DIR INSTALL_DIR)
    if(NOT CTK_STAGE_${name})
      message(FATAL_ERROR "ctkMacroCompilePythonScript needs ${name}")
    endif()
  endforeach()
  foreach(file IN LISTS CTK_STAGE_SCRIPTS CTK_STAGE_RESOURCES)
    dsarecon_stage_file("${CTK_STAGE_TARGET_NAME}" "${file}" "${CTK_STAGE_DESTINATION_DIR}")
  endforeach()
  if(CTK_STAGE_NO_INSTALL_SUBDIR)
    install(DIRECTORY "${CTK_STAGE_DESTINATION_DIR}/" DESTINATION "${CTK_STAGE_INSTALL_DIR}")
  else()
    install(DIRECTORY "${CTK_STAGE_DESTINATION_DIR}" DESTINATION "${CTK_STAGE_INSTALL_DIR}")
  endif()
endmacro()

macro(slicerMacroBuildScriptedModule)
  cmake_parse_arguments(SLICER_STAGE "WITH_GENERIC_TESTS;WITH_SUBDIR;VERBOSE" "NAME" "SCRIPTS;RESOURCES" ${ARGN})
  if(SLICER_STAGE_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule does not know: ${SLICER_STAGE_UNPARSED_ARGUMENTS}")
  endif()
  if(NOT SLICER_STAGE_NAME)
    message(FATAL_ERROR "slicerMacroBuildScriptedModule needs NAME")
  endif()
  ctkMacroCompilePythonScript(
    TARGET_NAME ${SLICER_STAGE_NAME}
    SCRIPTS ${SLICER_STAGE_SCRIPTS}
    RESOURCES ${SLICER_STAGE_RESOURCES}
    DESTINATION_DIR ${CMAKE_BINARY_DIR}/${Slicer_QTSCRIPTEDMODULES_LIB_DIR}
    INSTALL_DIR ${Slicer_INSTALL_QTSCRIPTEDMODULES_LIB_DIR}
    NO_INSTALL_SUBDIR
    )
endmacro()

macro(slicer_add_python_unittest)
  cmake_parse_arguments(SLICER_TEST "" "SCRIPT;TESTNAME_PREFIX" "SLICER_ARGS" ${ARGN})
  if(NOT EXISTS "${CMAKE_CURRENT_SOURCE_DIR}/${SLICER_TEST_SCRIPT}")
    message(FATAL_ERROR "slicer_add_python_unittest: no such script: ${SLICER_TEST_SCRIPT}")
  endif()
  add_test(NAME "py_${SLICER_TEST_SCRIPT}" COMMAND Slicer --testing --launcher-no-splash)
endmacro()
