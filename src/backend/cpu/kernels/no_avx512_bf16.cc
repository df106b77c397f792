// Where the compiler's target is not x86, the AVX-512 kernels do not exist. cpu_features() never
// says they do, so that reaching one of these is our own mistake.
#if !defined(__x86_64__)

#include "backend/cpu/kernels/kronecker.h"
#include "backend/cpu/kernels/pointwise_bf16.h"
#include "backend/cpu/kernels/product.h"
#include "backend/cpu/kernels/winograd.h"
#include "base/error.h"

namespace velatura::backend::cpu::kernels {

namespace {

[[noreturn]] void absent() {
  fail(ErrorKind::internal, "an AVX-512 kernel was chosen on another CPU");
}

}  // namespace

void affine_rows_bf16(const std::uint16_t*, const float*, const float*, bool, std::int64_t,
                      std::int64_t, std::uint16_t*) {
  absent();
}
void gate_rows_bf16(const std::uint16_t*, std::int64_t, std::int64_t, std::uint16_t*) {
  absent();
}
bool kronecker_inner_first(const ops::KroneckerShape&) {
  absent();
}
std::int64_t kronecker_block_rows(const ops::KroneckerShape&) {
  absent();
}
std::size_t kronecker_scratch(const ops::KroneckerShape&) {
  absent();
}
void kronecker_rows_bf16(const KroneckerProblem&, const std::uint16_t*, std::int64_t,
                         std::uint16_t*, std::byte*) {
  absent();
}
void product_pack_panel(const std::uint16_t*, std::int64_t, std::int64_t, std::uint16_t*) {
  absent();
}
void product_part(const ProductProblem&, std::int64_t, std::int64_t, std::int64_t, std::int64_t) {
  absent();
}
void product_merge(const MergeProblem&, std::int64_t, std::int64_t, std::uint16_t*) {
  absent();
}
std::size_t winograd_weight_bytes(std::int64_t, std::int64_t) {
  absent();
}
void winograd_pack(const float*, std::int64_t, std::int64_t, std::int64_t, std::uint16_t*) {
  absent();
}
std::size_t winograd_scratch_bytes(const WinogradProblem&, std::int64_t) {
  absent();
}
void winograd_tiles(const WinogradProblem&, std::int64_t, std::int64_t, std::int64_t, std::int64_t,
                    std::int64_t, std::byte*) {
  absent();
}

}  // namespace velatura::backend::cpu::kernels

#endif
