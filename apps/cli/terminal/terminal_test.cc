#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <limits>
#include <map>
#include <string>

#include "apps/cli/terminal/bars.h"
#include "apps/cli/terminal/drawing.h"
#include "apps/cli/terminal/preview.h"
#include "apps/cli/terminal/progress_line.h"
#include "apps/cli/terminal/screen.h"

namespace velatura::cli::terminal {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

Image flat(int width, int height, std::uint8_t red, std::uint8_t green, std::uint8_t blue) {
  Image image{width, height, 3, {}};
  for (int i = 0; i < width * height; ++i)
    image.pixels.insert(image.pixels.end(), {red, green, blue});
  return image;
}

/// A stream whose text can be read back; no terminal unless the test says so.
class Capture {
 public:
  Capture() : stream_(std::tmpfile()) {}
  ~Capture() { std::fclose(stream_); }
  std::FILE* stream() const { return stream_; }
  std::string text() const {
    std::fflush(stream_);
    std::string content(static_cast<std::size_t>(std::ftell(stream_)), '\0');
    std::rewind(stream_);
    content.resize(std::fread(content.data(), 1, content.size(), stream_));
    return content;
  }

 private:
  std::FILE* stream_;
};

Progress at(int step, int steps, double seconds = 0, int batch = 0, int batches = 1) {
  Progress progress;
  progress.step = step;
  progress.steps = steps;
  progress.seconds_per_step = seconds;
  progress.batch = batch;
  progress.batches = batches;
  return progress;
}

TEST(ProgressText, SaysStepRateAndTimeLeft) {
  EXPECT_EQ(progress_text(at(5, 20), 0.25, 80),
            "step 5/20  [=======                       ]  4.00 it/s  0:04 left");
  EXPECT_EQ(progress_text(at(0, 20), 0, 60), "step 0/20  [                              ]");
  EXPECT_EQ(progress_text(at(1, 4, 0, 1, 3), 1.5, 42), "batch 2/3  step 1/4  1.50 s/it  0:11 left");
  EXPECT_THAT(progress_text(at(10, 1000), 60, 80), HasSubstr("16:30:00 left"));
  EXPECT_EQ(progress_text(at(20, 20), 0.5, 45), "step 20/20  [========]  2.00 it/s  0:00 left");
  EXPECT_EQ(progress_text(at(5, 20), 0.25, 9), "step 5/2");
  EXPECT_EQ(progress_text(at(0, 0), 0, 80), "step 0/0");
  EXPECT_EQ(progress_text(at(5, 20), 0.25, 0), "");
}

TEST(ProgressLineTest, IsQuietInAPipe) {
  Capture capture;
  {
    ProgressLine line(capture.stream());
    EXPECT_FALSE(line.on_terminal());
    line.update(at(1, 2, 0.1));
    line.note("seed 7");
    line.draw_above("picture");
    line.update(at(2, 2, 0.1));
    line.finish();
  }
  EXPECT_EQ(capture.text(), "seed 7\n");
}

TEST(ProgressLineTest, RedrawsOneLineOnATerminal) {
  Capture capture;
  {
    ProgressLine line(capture.stream(), true);
    line.note("before");
    line.update(at(1, 2, 0.5));
    line.note("between");
    line.update(at(2, 2, 0.5));
    line.finish();
  }
  const std::string first = "\r" + progress_text(at(1, 2), 0.5, 80) + "\x1b[K";
  const std::string second = "\r" + progress_text(at(2, 2), 0.5, 80) + "\x1b[K";
  EXPECT_EQ(capture.text(), "before\n" + first + "\r\x1b[Kbetween\n" + first + second + "\n");
}

TEST(ProgressLineTest, EndsItsLineWhenAJobIsStopped) {
  Capture capture;
  { ProgressLine(capture.stream(), true).update(at(1, 2)); }
  EXPECT_THAT(capture.text(), ::testing::EndsWith("\n"));
}

Graphics choose(const std::map<std::string, std::string>& variables) {
  return choose_graphics([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? std::string() : found->second;
  });
}

TEST(ChooseGraphics, KnowsTerminals) {
  EXPECT_EQ(choose({}), Graphics::none);
  EXPECT_EQ(choose({{"TERM", "dumb"}}), Graphics::none);
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}}), Graphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"KITTY_WINDOW_ID", "1"}}), Graphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-ghostty"}}), Graphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"KONSOLE_VERSION", "230800"}}), Graphics::kitty);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"KONSOLE_VERSION", "210400"}}),
            Graphics::half_blocks_256);
  EXPECT_EQ(choose({{"TERM", "foot"}}), Graphics::sixel);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"TERM_PROGRAM", "WezTerm"}}), Graphics::sixel);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}, {"COLORTERM", "truecolor"}}),
            Graphics::half_blocks);
  EXPECT_EQ(choose({{"TERM", "xterm-256color"}}), Graphics::half_blocks_256);
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}, {"TMUX", "x"}}), Graphics::half_blocks_256);
  EXPECT_EQ(choose({{"TERM", "screen.foot"}, {"COLORTERM", "24bit"}}), Graphics::half_blocks);
  EXPECT_EQ(choose({{"TERM", "xterm"}, {"LANG", "de_DE.ISO-8859-1"}}), Graphics::none);
  EXPECT_EQ(choose({{"TERM", "xterm"}, {"LANG", "de_DE.UTF-8"}}), Graphics::half_blocks_256);
  EXPECT_EQ(choose({{"TERM", "xterm-kitty"}, {"VELATURA_PREVIEW", "none"}}), Graphics::none);
  EXPECT_EQ(choose({{"TERM", "dumb"}, {"VELATURA_PREVIEW", "blocks"}}), Graphics::half_blocks_256);
  EXPECT_EQ(choose({{"TERM", "xterm"}, {"VELATURA_PREVIEW", "sixel"}}), Graphics::sixel);
}

TEST(Fit, KeepsTheShapeWithinTheScreen) {
  const auto box = [](int width, int height, int columns, int rows) {
    const Box fitted = fit(flat(width, height, 0, 0, 0), {.columns = columns, .rows = rows});
    return std::pair(fitted.columns, fitted.rows);
  };
  EXPECT_EQ(box(64, 64, 200, 60), std::pair(48, 24));
  EXPECT_EQ(box(64, 64, 80, 23), std::pair(40, 20));
  EXPECT_EQ(box(64, 32, 200, 60), std::pair(48, 12));
  EXPECT_EQ(box(32, 64, 200, 60), std::pair(24, 24));
  EXPECT_EQ(box(1000, 1, 5, 2), std::pair(4, 1));
}

TEST(Scaled, AveragesAndRepeats) {
  Image image = flat(2, 1, 0, 10, 20);
  image.pixels[3] = 100;
  EXPECT_EQ(scaled(image, 1, 1).pixels, (std::vector<std::uint8_t>{50, 10, 20}));
  EXPECT_EQ(scaled(image, 4, 1).pixels,
            (std::vector<std::uint8_t>{0, 10, 20, 0, 10, 20, 100, 10, 20, 100, 10, 20}));
  Image transparent{1, 1, 4, {1, 2, 3, 4}};
  EXPECT_EQ(scaled(transparent, 1, 1).pixels, (std::vector<std::uint8_t>{1, 2, 3}));
}

TEST(Drawing, HalfBlocks) {
  Image image = flat(1, 2, 255, 0, 0);
  image.pixels[3] = 0;
  image.pixels[5] = 51;
  EXPECT_EQ(draw_half_blocks(image, {2, 1}, true),
            "\x1b[38;2;255;0;0m\x1b[48;2;0;0;51m▀▀\x1b[0m\x1b[K\n");
  EXPECT_EQ(draw_half_blocks(image, {1, 1}, false), "\x1b[38;5;196m\x1b[48;5;17m▀\x1b[0m\x1b[K\n");
}

TEST(Drawing, Sixel) {
  const ScreenSize screen{.cell_width = 3, .cell_height = 6};
  // One colour: index 215 is white; a full column of six pixels is '~'.
  EXPECT_EQ(draw_sixel(flat(1, 1, 255, 255, 255), {2, 1}, screen),
            "\x1bP7;1;0q\"1;1;6;6#215;2;100;100;100#215!6~$-\x1b\\");
  Image halves = flat(2, 1, 255, 255, 255);
  halves.pixels[0] = halves.pixels[1] = halves.pixels[2] = 0;
  EXPECT_THAT(draw_sixel(halves, {2, 1}, screen), HasSubstr("#0~~~$#215???~~~$-"));
}

TEST(Drawing, Kitty) {
  EXPECT_EQ(draw_kitty(flat(1, 1, 'M', 'a', 'n'), {4, 2}, 9),
            "\x1b_Ga=T,f=24,s=1,v=1,c=4,r=2,i=9,p=1,q=2,C=1,m=0;TWFu\x1b\\");
  // 40 x 40 x 3 bytes are 6400 characters: a chunk of 4096 and one of the rest.
  const std::string large = draw_kitty(flat(40, 40, 0, 0, 0), {4, 2}, 9);
  EXPECT_THAT(large, HasSubstr("m=1;AAAA"));
  EXPECT_THAT(large, HasSubstr("\x1b_Gm=0;AAAA"));
  EXPECT_EQ(large.size(),
            6400 +
                std::string("\x1b_Ga=T,f=24,s=40,v=40,c=4,r=2,i=9,p=1,q=2,C=1,m=1;\x1b\\").size() +
                std::string("\x1b_Gm=0;\x1b\\").size());
}

TEST(Preview, DrawsInPlaceUntilANoteComesBetween) {
  Capture capture;
  {
    ProgressLine line(capture.stream(), true);
    PreviewDrawer preview(Graphics::half_blocks);
    const Image image = flat(2, 2, 1, 2, 3);
    line.update(at(1, 2));
    preview.draw(image, line);
    preview.draw(image, line);
    line.note("a note");
    preview.draw(image, line);
    line.finish();
  }
  const std::string text = capture.text();
  std::size_t moves = 0;
  for (std::size_t i = text.find("F\x1b[38"); i != std::string::npos;
       i = text.find("F\x1b[38", i + 1))
    ++moves;
  EXPECT_EQ(moves, 1u) << "only the second drawing goes back up";
}

TEST(Preview, IsQuietWhereNothingCanBeShown) {
  Capture pipe;
  ProgressLine quiet(pipe.stream(), false);
  PreviewDrawer(Graphics::kitty).draw(flat(2, 2, 0, 0, 0), quiet);
  EXPECT_EQ(pipe.text(), "");
  Capture capture;
  ProgressLine line(capture.stream(), true);
  PreviewDrawer none(Graphics::none);
  none.draw(flat(2, 2, 0, 0, 0), line);
  none.draw(flat(2, 2, 0, 0, 0), line);
  EXPECT_EQ(line.notes(), 1);
  EXPECT_THAT(capture.text(), StartsWith("this terminal"));
}

TEST(Bars, FillTheirWidthToAnEighthOrInAscii) {
  EXPECT_EQ(draw_bar(1, 3, true), "███");
  EXPECT_EQ(draw_bar(0.5, 3, true), "█▌ ");
  EXPECT_EQ(draw_bar(0.5, 4, false), "##  ");
  EXPECT_EQ(draw_bar(0, 3, true), "   ");
  EXPECT_EQ(draw_bar(1e-9, 2, true), "▏ ") << "what is not zero shows";
  EXPECT_EQ(draw_bar(7, 2, false), "##");
  EXPECT_EQ(draw_bar(std::numeric_limits<double>::quiet_NaN(), 2, true), "  ");
}

TEST(Bars, AreOfTheLocalesCharacters) {
  const auto with = [](std::map<std::string, std::string> values) {
    return shows_utf8([values](const char* name) {
      const auto found = values.find(name);
      return found == values.end() ? std::string() : found->second;
    });
  };
  EXPECT_TRUE(with({{"LANG", "de_DE.UTF-8"}}));
  EXPECT_TRUE(with({{"LC_ALL", "C.utf8"}}));
  EXPECT_FALSE(with({{"LC_ALL", "C"}, {"LANG", "de_DE.UTF-8"}}));
  EXPECT_FALSE(with({}));
}

}  // namespace
}  // namespace velatura::cli::terminal
