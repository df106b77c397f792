#include "base/atomic_file.h"

#include <charconv>
#include <cstdint>
#include <set>
#include <system_error>

#include "base/error.h"
#include "base/platform/new_file.h"

namespace velatura {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPlace = "{number}";

/// Where the bytes go when links are followed; `target` itself where there is none.
fs::path resolved(const fs::path& target) {
  std::error_code error;
  if (!fs::is_symlink(target, error)) return target;
  fs::path goal = fs::weakly_canonical(target, error);
  return error ? target : goal;
}

/// Numbers that entries of `folder` have between `before` and `after`.
std::set<std::uint64_t> taken_numbers(const fs::path& folder, std::string_view before, char after) {
  std::set<std::uint64_t> taken;
  std::error_code error;
  fs::directory_iterator entries(folder.empty() ? fs::path(".") : folder, error);
  if (error) {
    fail(error == std::errc::no_such_file_or_directory ? ErrorKind::not_found : ErrorKind::io,
         "cannot read the folder \"{}\": {}", folder.string(), error.message());
  }
  for (; entries != fs::directory_iterator(); entries.increment(error)) {
    const std::string name = entries->path().filename().string();
    if (!name.starts_with(before)) continue;
    std::uint64_t number = 0;
    const char* const end = name.data() + name.size();
    const auto [stop, bad] = std::from_chars(name.data() + before.size(), end, number);
    if (bad == std::errc() && (stop == end ? after == '\0' : *stop == after)) taken.insert(number);
  }
  return taken;
}

}  // namespace

void write_file_atomically(const fs::path& target, std::span<const std::byte> bytes) {
  const fs::path goal = resolved(target);
  std::error_code error;
  const fs::file_status status = fs::status(goal, error);
  if (fs::is_directory(status)) {
    fail(ErrorKind::io, "cannot write \"{}\": it is a folder; give the name of a file",
         target.string());
  }
  if (fs::exists(status) && !fs::is_regular_file(status)) {
    platform::write_to_device(goal, bytes);
    return;
  }
  platform::NewFile file(goal);
  file.write(bytes);
  file.replace_target();
}

fs::path write_numbered_file(const fs::path& folder, std::string_view pattern,
                             std::span<const std::byte> bytes) {
  const std::size_t place = pattern.find(kPlace);
  VELATURA_CHECK(place != std::string_view::npos && pattern.find('/') == std::string_view::npos);
  const std::string_view before = pattern.substr(0, place);
  const std::string_view after = pattern.substr(place + kPlace.size());
  const auto path_of = [&](std::uint64_t number) {
    return folder / fmt::format("{}{}{}", before, number, after);
  };

  platform::NewFile file(path_of(0));
  file.write(bytes);
  const std::set<std::uint64_t> taken =
      taken_numbers(folder, before, after.empty() ? '\0' : after.front());
  for (std::uint64_t number = 1;; ++number) {
    if (taken.contains(number)) continue;
    if (file.take_name(path_of(number)))
      return path_of(number);  // false: another process was faster
  }
}

}  // namespace velatura
