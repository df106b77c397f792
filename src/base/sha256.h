// SHA-256 (FIPS 180-4), by OpenSSL. Not here: which bytes of a file identify it (file_hash.h).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

namespace velatura {

/// One running digest. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);

  /// 64 lower-case hex digits of everything so far; the digest is spent then.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

std::string sha256_hex(std::span<const std::byte> bytes);

}  // namespace velatura
