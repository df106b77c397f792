// A listener of a library that is followed may throw anything: the thread goes on.
#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <thread>

#include "lora/library/follow.h"
#include "tests/support/adapter_folder.h"

namespace velatura::lora::library {
namespace {

using testing::AdapterFolder;

TEST(FollowerThread, WhatAListenerThrowsStopsNothing) {
  const AdapterFolder folder;
  folder.lora("loras/ink0.safetensors");
  Shelf shelf({.roots = {folder / "loras"}, .index = {}, .threads = 1, .on_progress = {}});
  shelf.refresh();
  std::atomic<int> told = 0;
  const Follower follower(shelf, [&](const LibraryScan&) {
    ++told;
    throw std::runtime_error("no error of ours");
  });
  for (int i = 1; i < 3; ++i) {
    const int before = told;
    folder.lora("loras/ink" + std::to_string(i) + ".safetensors");
    for (int wait = 0; wait < 2000 && told == before; ++wait)
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    EXPECT_GT(told, before);
  }
}

}  // namespace
}  // namespace velatura::lora::library
