// What an op runs with: the backend's table, the job's memory, the compute type.
#pragma once

#include "ops/op_table.h"
#include "tensor/workspace.h"

namespace velatura::ops {

/// `compute` is the type of activations: f32, or bf16 with f32 accumulation. One context belongs to
/// one job; the table behind it is shared.
class Context {
 public:
  Context(OpTable& table, Workspace& workspace, DType compute)
      : table_(table), workspace_(workspace), compute_(compute) {}
  OpTable& table() { return table_; }
  DType compute() const { return compute_; }
  Tensor allocate(const Shape& shape, DType type) { return workspace_.allocate(shape, type); }
  /// Gives back the memory that no tensor holds: between two stages that need other sizes.
  void trim() { workspace_.trim(); }
  Tensor allocate(const Shape& shape) { return workspace_.allocate(shape, compute_); }

 private:
  OpTable& table_;
  Workspace& workspace_;
  DType compute_;
};

}  // namespace velatura::ops
