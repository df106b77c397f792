#include "engine/device.h"

#include <omp.h>

#include "backend/cpu/cpu.h"
#include "backend/reference/reference.h"
#include "base/error.h"

namespace velatura::engine {

namespace {

DType compute_type(const std::string& backend, const std::string& precision) {
  const bool has_bf16 = backend::cpu::cpu_features().avx512_bf16;
  if (precision == "f32") return DType::f32;
  if (precision == "bf16") return DType::bf16;
  if (precision == "auto") return backend == "cpu" && has_bf16 ? DType::bf16 : DType::f32;
  fail(ErrorKind::invalid_argument, "--precision \"{}\" is not one of auto, f32, bf16", precision);
}

}  // namespace

Device make_device(const std::string& backend, const std::string& precision, int threads) {
  if (threads < 0) fail(ErrorKind::invalid_argument, "--threads {} is negative", threads);
  Device device;
  device.threads = threads > 0 ? threads : omp_get_num_procs();
  device.compute = compute_type(backend, precision);
  if (backend == "cpu") {
    device.table = backend::cpu::make_cpu_backend({.threads = device.threads});
  } else if (backend == "reference") {
    device.table = backend::reference::make_reference_backend();
  } else {
    fail(ErrorKind::invalid_argument, "--backend \"{}\" is not one of cpu, reference", backend);
  }
  return device;
}

}  // namespace velatura::engine
