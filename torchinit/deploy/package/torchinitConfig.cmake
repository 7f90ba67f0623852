# find_package(torchinit) defines the target torchinit::torchinit, with libtorch and, as macros, the archives' paths:
# TORCHINIT_BUNDLE for torchinit::Init, TORCHINIT_MOBILE_BUNDLE for torchinit::MobileInit.
include(CMakeFindDependencyMacro)
find_dependency(Torch)

if(NOT TARGET torchinit::torchinit)
  add_library(torchinit::torchinit INTERFACE IMPORTED)
  target_include_directories(torchinit::torchinit INTERFACE "${CMAKE_CURRENT_LIST_DIR}/include")
  target_link_libraries(torchinit::torchinit INTERFACE ${TORCH_LIBRARIES})
  target_compile_features(torchinit::torchinit INTERFACE cxx_std_17)
  target_compile_definitions(torchinit::torchinit INTERFACE
    TORCHINIT_BUNDLE="${CMAKE_CURRENT_LIST_DIR}/torchinit.pt"
    TORCHINIT_MOBILE_BUNDLE="${CMAKE_CURRENT_LIST_DIR}/torchinit.ptl")
endif()
