# Slicer sets up CPack here; the licence and the readme of the extension go into the package.
foreach(name LICENSE README.md)
  if(NOT EXISTS "${CMAKE_SOURCE_DIR}/${name}")
    message(FATAL_ERROR "${name} is missing")
  endif()
endforeach()
