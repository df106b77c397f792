// The caption tags of an adapter's training pictures: ss_tag_frequency, read event by event, for
// the tables of real files have tens of thousands of tags and a hostile one has millions.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "velatura/library.h"

namespace velatura::lora::library {

struct TagTable {
  std::vector<TagCount> tags;  ///< over all folders, most frequent first, ties in file order
  /// Tags that stand on every picture of their folder, in file order.
  std::vector<std::string> on_every_picture;
};

/// `frequency` is {folder: {tag: count}}, `folders` is ss_dataset_dirs {folder: {img_count}}, which
/// may be empty. Keeps `max_tags`. Damaged JSON gives what was read until then.
TagTable read_tag_table(std::string_view frequency, std::string_view folders, std::size_t max_tags);

}  // namespace velatura::lora::library
