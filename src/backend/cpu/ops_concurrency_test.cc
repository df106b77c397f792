// Several jobs on one table and one set of weights: OpTable and Weight promise to be thread-safe.
#include <thread>
#include <vector>

#include "ops/attention.h"
#include "ops/elementwise.h"
#include "ops/kronecker.h"
#include "ops/low_rank.h"
#include "ops/norm.h"
#include "tests/support/against_reference.h"
#include "tests/support/backends.h"

namespace velatura::backend::cpu {
namespace {

using ops::Weight;
using testing::bit_identical;
using testing::uniform_tensor;

/// Weights of a small block, shared by all jobs.
struct Block {
  Weight conv{uniform_tensor({64, 32, 3, 3}, DType::f16, 1)};
  Weight narrow{uniform_tensor({32, 64, 1, 1}, DType::f16, 8)};
  Tensor conv_bias = uniform_tensor({64}, DType::f32, 9);
  Weight dense{uniform_tensor({32, 32}, DType::bf16, 2)};
  Weight down{uniform_tensor({4, 32}, DType::f32, 3)};
  Weight up{uniform_tensor({32, 4}, DType::f32, 4)};
  Tensor bias = uniform_tensor({32}, DType::f32, 5);
  Tensor scales = uniform_tensor({4}, DType::f32, 6);
  Weight outer{uniform_tensor({4, 4}, DType::f16, 10)};
  Weight inner{uniform_tensor({8, 8}, DType::f16, 11)};
  Tensor scale = uniform_tensor({1}, DType::f32, 12);

  Tensor forward(ops::Context& context, const Tensor& x) const {
    // 3×3 of as many pixels and channels as a backend may leave the direct way for, then 1×1.
    const Tensor wide = ops::conv2d(context, x, conv, conv_bias, ops::ConvGeometry::same(3));
    const Tensor picture = ops::conv2d(context, wide, narrow, bias, {});
    const Tensor normed =
        ops::group_norm(context, picture, {.gamma = bias, .beta = bias, .groups = 8});
    const Tensor tokens =
        normed.reshaped({normed.size(0), normed.size(1) * normed.size(2), normed.size(3)});
    Tensor hidden = ops::linear_low_rank(context, tokens, dense, bias, {down, scales, up},
                                         {.residual = &tokens});
    ops::low_rank_update(context, tokens, down, scales, up, hidden);
    ops::kronecker_update(context, tokens, outer, inner, scale, hidden);
    const Tensor mixed = ops::attention(context, hidden, hidden, tokens, {.heads = 2});
    return ops::layer_norm(context, ops::add(context, mixed, tokens), bias, bias, 1e-5f);
  }
};

/// Weights are fresh, so that the jobs race to make their prepared forms, too.
void expect_same_from_all_threads(ops::OpTable& table, DType type) {
  constexpr int kJobs = 4, kRepeats = 3;
  const Tensor x = uniform_tensor({1, 32, 32, 32}, type, 7);
  const auto run = [&](const Block& block) {
    Workspace workspace;
    ops::Context context(table, workspace, type);
    return block.forward(context, x).clone();
  };
  const Tensor expected = run(Block());
  const Block shared;
  std::vector<Tensor> results(kJobs);
  std::vector<std::thread> jobs;
  for (int job = 0; job < kJobs; ++job) {
    jobs.emplace_back([&, job] {
      for (int i = 0; i < kRepeats; ++i) results[static_cast<std::size_t>(job)] = run(shared);
    });
  }
  for (std::thread& job : jobs) job.join();
  for (const Tensor& result : results) EXPECT_TRUE(bit_identical(result, expected));
}

TEST(OpsConcurrency, JobsShareTableAndWeights) {
  for (const auto& table : testing::test_backends()) {
    for (const DType type : testing::compute_types()) {
      SCOPED_TRACE(std::string(table->name()) + " " + std::string(to_string(type)));
      expect_same_from_all_threads(*table, type);
    }
  }
}

/// A job may run with a workspace of its own thread while another frees tensors of it.
TEST(OpsConcurrency, WorkspaceSharedByThreads) {
  constexpr int kThreads = 4, kRounds = 200;
  Workspace workspace;
  std::vector<std::thread> threads;
  for (int thread = 0; thread < kThreads; ++thread) {
    threads.emplace_back([&workspace, thread] {
      for (int round = 0; round < kRounds; ++round) {
        Tensor tensor = workspace.allocate({64, 8 + (round + thread) % 5}, DType::f32);
        tensor.mutable_floats().front() = static_cast<float>(thread);
        EXPECT_EQ(tensor.floats().front(), static_cast<float>(thread));
        if (round % 50 == 0) workspace.trim();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  workspace.trim();
  EXPECT_EQ(workspace.bytes_held(), 0u);
}

}  // namespace
}  // namespace velatura::backend::cpu
