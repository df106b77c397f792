#include "velatura/engine.h"

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "engine/job.h"
#include "engine/replay.h"
#include "image/codec.h"

namespace velatura {

namespace fs = std::filesystem;

struct Engine::State {
  explicit State(const EngineOptions& options) : session(options) {}
  engine::Session session;
};

Engine::Engine(EngineOptions options) : state_(std::make_unique<State>(options)) {}
Engine::~Engine() = default;
Engine::Engine(Engine&&) noexcept = default;
Engine& Engine::operator=(Engine&&) noexcept = default;

GenerateResult Engine::generate(const GenerateRequest& request, const Observer& observer,
                                std::stop_token stop) {
  return engine::run_job(state_->session, request, observer, std::move(stop));
}

GenerateRequest Engine::request_from_picture(const fs::path& picture, bool keep_model) {
  return engine::read_replay(picture, keep_model, state_->session.roots, state_->session.hashes);
}

namespace {

std::vector<std::byte> encode(const Picture& picture) {
  std::vector<image::TextChunk> texts;
  for (const auto& [key, value] : picture.text) texts.push_back({key, value});
  return image::encode_png(picture.image, texts);
}

}  // namespace

void save_png(const Picture& picture, const fs::path& path) {
  write_file_atomically(path, encode(picture));
}

fs::path save_png_numbered(const Picture& picture, const fs::path& folder) {
  return write_numbered_file(folder, fmt::format("{{number}}-{}.png", picture.seed),
                             encode(picture));
}

}  // namespace velatura
