// Loops over OpenMP's threads, the only pool of the backend (oneDNN uses the same). Not here: work
// that throws.
#pragma once

#include <omp.h>

#include <algorithm>
#include <cstdint>

namespace velatura::backend::cpu {

/// Calls body(begin, end) on consecutive parts of [0, count), one part a thread, none smaller than
/// `grain`. Bodies must not throw and must not depend on where the parts begin.
template <typename Body>
void parallel_for(std::int64_t count, std::int64_t grain, const Body& body) {
  const std::int64_t wanted = count / std::max<std::int64_t>(grain, 1);
  const int threads =
      static_cast<int>(std::clamp<std::int64_t>(wanted, 1, std::max(omp_get_max_threads(), 1)));
  if (threads == 1) {
    if (count > 0) body(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t parts = omp_get_num_threads();
    const std::int64_t part = omp_get_thread_num();
    const std::int64_t begin = count * part / parts;
    const std::int64_t end = count * (part + 1) / parts;
    if (begin < end) body(begin, end);
  }
}

/// Elements a thread should at least have for a fork (a few microseconds) to pay at ~1 element a
/// cycle.
inline constexpr std::int64_t kElementwiseGrain = 16384;

/// Sets the calling thread's OpenMP team size while it lives; 0 leaves it.
class ThreadScope {
 public:
  explicit ThreadScope(int threads) : before_(omp_get_max_threads()) {
    if (threads > 0) omp_set_num_threads(threads);
  }
  ~ThreadScope() { omp_set_num_threads(before_); }
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_;
};

}  // namespace velatura::backend::cpu
