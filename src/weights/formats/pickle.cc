#include "weights/formats/pickle.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <unordered_map>

#include "base/error.h"

namespace velatura::weights::pickle {

namespace {

/// The opcodes, named as in pickletools. Those that are absent (EXT1…4, NEXT_BUFFER,
/// READONLY_BUFFER) need things a file does not carry.
enum Op : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kDup = '2',
  kFloat = 'F',
  kInt = 'I',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kLong = 'L',
  kBinInt2 = 'M',
  kNone = 'N',
  kPersId = 'P',
  kBinPersId = 'Q',
  kReduce = 'R',
  kString = 'S',
  kBinString = 'T',
  kShortBinString = 'U',
  kUnicode = 'V',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobal = 'c',
  kDict = 'd',
  kAppends = 'e',
  kGet = 'g',
  kBinGet = 'h',
  kInst = 'i',
  kLongBinGet = 'j',
  kList = 'l',
  kObj = 'o',
  kPut = 'p',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTuple = 't',
  kSetItems = 'u',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kBinFloat = 'G',
  kBinBytes = 'B',
  kShortBinBytes = 'C',
  kProto = 0x80,
  kNewObj = 0x81,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8a,
  kLong4 = 0x8b,
  kShortBinUnicode = 0x8c,
  kBinUnicode8 = 0x8d,
  kBinBytes8 = 0x8e,
  kEmptySet = 0x8f,
  kAddItems = 0x90,
  kFrozenSet = 0x91,
  kNewObjEx = 0x92,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
  kByteArray8 = 0x96,
};
constexpr std::uint8_t kNewestProtocol = 5;

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, const std::string& file)
      : bytes_(bytes.first(std::min<std::size_t>(bytes.size(), kMaxPickleBytes))),
        cut_(bytes.size() > bytes_.size()),
        file_(file) {}

  Document run() {
    while (true) {
      op_at_ = at_;
      const auto op = number<std::uint8_t>();
      if (op == kStop) break;
      if (!scalar(op) && !text(op) && !container(op) && !object(op) && !memo(op))
        refuse("unknown opcode {:#04x}", op);
    }
    document_.root = pop();
    document_.length = at_;
    return std::move(document_);
  }

 private:
  template <typename... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::bad_file, "\"{}\": damaged pickle at byte {}: {}", file_, op_at_,
         fmt::format(format, std::forward<Args>(args)...));
  }

  // Reading.
  std::string_view take(std::uint64_t length) {
    if (length > bytes_.size() - at_) {
      if (cut_) refuse("it is longer than {} bytes", kMaxPickleBytes);
      refuse("it ends in the middle, {} bytes are missing", length - (bytes_.size() - at_));
    }
    const std::string_view result(reinterpret_cast<const char*>(bytes_.data() + at_), length);
    at_ += length;
    return result;
  }
  template <typename T>
  T number() {
    T value = 0;
    int shift = 0;
    for (const char c : take(sizeof(T))) {
      value = static_cast<T>(
          value | static_cast<T>(static_cast<T>(static_cast<unsigned char>(c)) << shift));
      shift += 8;
    }
    return value;
  }
  std::string_view line() {
    const std::string_view rest(reinterpret_cast<const char*>(bytes_.data() + at_),
                                bytes_.size() - at_);
    const std::size_t end = rest.find('\n');
    if (end == std::string_view::npos) refuse("a line without an end");
    return take(end + 1).substr(0, end);
  }

  // The stack.
  NodeId make(Node node) {
    if (document_.nodes.size() == kMaxNodes) refuse("more than {} values", kMaxNodes);
    document_.nodes.push_back(std::move(node));
    return static_cast<NodeId>(document_.nodes.size() - 1);
  }
  void push(NodeId id) { stack_.push_back(id); }
  void push(Node node) { push(make(std::move(node))); }
  std::size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  NodeId pop() {
    if (stack_.size() <= floor()) refuse("a value is taken from an empty stack");
    const NodeId id = stack_.back();
    stack_.pop_back();
    return id;
  }
  NodeId top() {
    if (stack_.size() <= floor()) refuse("a value is taken from an empty stack");
    return stack_.back();
  }
  std::vector<NodeId> pop_to_mark() {
    if (marks_.empty()) refuse("a mark is missing");
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<NodeId> items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    marks_.pop_back();
    return items;
  }
  std::vector<NodeId> pop_count(std::size_t count) {
    std::vector<NodeId> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    return items;
  }
  Node& at(NodeId id) { return document_.nodes[id]; }

  // Opcodes by what they make; each returns whether `op` was one of its own.
  bool scalar(std::uint8_t op) {
    switch (op) {
      case kNone:
        push(Node{.kind = Kind::none});
        return true;
      case kNewTrue:
        push(Node{.kind = Kind::boolean, .integer = 1});
        return true;
      case kNewFalse:
        push(Node{.kind = Kind::boolean});
        return true;
      case kBinInt:
        push(integer(static_cast<std::int32_t>(number<std::uint32_t>())));
        return true;
      case kBinInt1:
        push(integer(number<std::uint8_t>()));
        return true;
      case kBinInt2:
        push(integer(number<std::uint16_t>()));
        return true;
      case kInt:
        push(decimal(line()));
        return true;
      case kLong:
        push(decimal(line()));
        return true;
      case kLong1:
        push(wide_integer(take(number<std::uint8_t>())));
        return true;
      case kLong4:
        push(wide_integer(take(number<std::uint32_t>())));
        return true;
      case kFloat:
        push(Node{.kind = Kind::real, .real = decimal_real(line())});
        return true;
      case kBinFloat:
        push(Node{.kind = Kind::real,
                  .real = std::bit_cast<double>(__builtin_bswap64(number<std::uint64_t>()))});
        return true;
      case kProto:
        if (const auto version = number<std::uint8_t>(); version > kNewestProtocol)
          refuse("protocol {}", version);
        return true;
      case kFrame:
        number<std::uint64_t>();
        return true;  // a hint for streaming readers
      default:
        return false;
    }
  }
  static Node integer(std::int64_t value) { return {.kind = Kind::integer, .integer = value}; }
  Node decimal(std::string_view digits) {
    if (digits == "01" || digits == "00") return {.kind = Kind::boolean, .integer = digits == "01"};
    if (digits.ends_with('L')) digits.remove_suffix(1);
    Node node{.kind = Kind::integer};
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), node.integer);
    if (end != digits.data() + digits.size() || digits.empty())
      refuse("\"{}\" is not a number", digits);
    if (error == std::errc::result_out_of_range) node.big = true, node.text = digits;
    return node;
  }
  double decimal_real(std::string_view digits) {
    double value = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
    if (end != digits.data() + digits.size() || digits.empty())
      refuse("\"{}\" is not a number", digits);
    return value;
  }
  static Node wide_integer(std::string_view little_endian) {
    if (little_endian.size() > 8)
      return {.kind = Kind::integer, .big = true, .text = little_endian};
    std::uint64_t value = 0;
    for (std::size_t i = little_endian.size(); i-- > 0;)
      value = value << 8 | static_cast<unsigned char>(little_endian[i]);
    const int unused = 64 - 8 * static_cast<int>(little_endian.size());
    if (unused == 64) return integer(0);
    return integer(static_cast<std::int64_t>(value << unused) >>
                   unused);  // sign of the highest byte given
  }

  bool text(std::uint8_t op) {
    switch (op) {
      case kBinUnicode:
        push_text(Kind::text, take(number<std::uint32_t>()));
        return true;
      case kShortBinUnicode:
        push_text(Kind::text, take(number<std::uint8_t>()));
        return true;
      case kBinUnicode8:
        push_text(Kind::text, take(number<std::uint64_t>()));
        return true;
      case kBinString:
        push_text(Kind::text, take(number<std::uint32_t>()));
        return true;
      case kShortBinString:
        push_text(Kind::text, take(number<std::uint8_t>()));
        return true;
      case kBinBytes:
        push_text(Kind::bytes, take(number<std::uint32_t>()));
        return true;
      case kShortBinBytes:
        push_text(Kind::bytes, take(number<std::uint8_t>()));
        return true;
      case kBinBytes8:
      case kByteArray8:
        push_text(Kind::bytes, take(number<std::uint64_t>()));
        return true;
      case kUnicode:
        push_text(Kind::text, unescaped(line()));
        return true;
      case kString: {
        std::string_view quoted = line();
        if (quoted.size() < 2 || quoted.front() != quoted.back() ||
            (quoted.front() != '\'' && quoted.front() != '"')) {
          refuse("a string without quotes");
        }
        push_text(Kind::text, unescaped(quoted.substr(1, quoted.size() - 2)));
        return true;
      }
      default:
        return false;
    }
  }
  void push_text(Kind kind, std::string_view value) { push(Node{.kind = kind, .text = value}); }

  /// Python's escapes of the text protocols; an unknown one stands for itself.
  std::string_view unescaped(std::string_view raw) {
    if (raw.find('\\') == std::string_view::npos) return raw;
    std::string& out = document_.decoded.emplace_back();
    for (std::size_t i = 0; i < raw.size(); ++i) {
      if (raw[i] != '\\' || i + 1 == raw.size()) {
        out += raw[i];
        continue;
      }
      const char kind = raw[++i];
      const std::size_t digits = kind == 'x' ? 2 : kind == 'u' ? 4 : kind == 'U' ? 8 : 0;
      std::uint32_t code = 0;
      const bool whole =
          digits > 0 && raw.size() - i > digits &&
          std::from_chars(raw.data() + i + 1, raw.data() + i + 1 + digits, code, 16).ptr ==
              raw.data() + i + 1 + digits;
      if (whole) {
        append_utf8(out, code);
        i += digits;
      } else if (kind == 'n') {
        out += '\n';
      } else if (kind == 't') {
        out += '\t';
      } else if (kind == 'r') {
        out += '\r';
      } else if (kind == '\\' || kind == '\'' || kind == '"') {
        out += kind;
      } else {
        out += {'\\', kind};
      }
    }
    return out;
  }
  static void append_utf8(std::string& out, std::uint32_t code) {
    const auto tail = [&](int shift) { out += static_cast<char>(0x80 | ((code >> shift) & 0x3f)); };
    if (code < 0x80) {
      out += static_cast<char>(code);
    } else if (code < 0x800) {
      out += static_cast<char>(0xc0 | code >> 6), tail(0);
    } else if (code < 0x10000) {
      out += static_cast<char>(0xe0 | code >> 12), tail(6), tail(0);
    } else {
      out += static_cast<char>(0xf0 | ((code >> 18) & 7)), tail(12), tail(6), tail(0);
    }
  }

  bool container(std::uint8_t op) {
    switch (op) {
      case kMark:
        marks_.push_back(stack_.size());
        return true;
      case kPop:
        // As CPython: with nothing above the mark, POP takes the mark.
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case kPopMark:
        pop_to_mark();
        return true;
      case kDup:
        push(top());
        return true;
      case kEmptyTuple:
        push(Node{.kind = Kind::tuple});
        return true;
      case kEmptyList:
        push(Node{.kind = Kind::list});
        return true;
      case kEmptyDict:
        push(Node{.kind = Kind::dict});
        return true;
      case kEmptySet:
        push(Node{.kind = Kind::set});
        return true;
      case kTuple1:
        push(Node{.kind = Kind::tuple, .items = pop_count(1)});
        return true;
      case kTuple2:
        push(Node{.kind = Kind::tuple, .items = pop_count(2)});
        return true;
      case kTuple3:
        push(Node{.kind = Kind::tuple, .items = pop_count(3)});
        return true;
      case kTuple:
        push(Node{.kind = Kind::tuple, .items = pop_to_mark()});
        return true;
      case kList:
        push(Node{.kind = Kind::list, .items = pop_to_mark()});
        return true;
      case kFrozenSet:
        push(Node{.kind = Kind::set, .items = pop_to_mark()});
        return true;
      case kDict:
        push(Node{.kind = Kind::dict, .items = pairs(pop_to_mark())});
        return true;
      case kAppend:
        append(Kind::list, pop_count(1));
        return true;
      case kAppends:
        append(Kind::list, pop_to_mark());
        return true;
      case kAddItems:
        append(Kind::set, pop_to_mark());
        return true;
      case kSetItem:
        append(Kind::dict, pop_count(2));
        return true;
      case kSetItems:
        append(Kind::dict, pairs(pop_to_mark()));
        return true;
      default:
        return false;
    }
  }
  std::vector<NodeId> pairs(std::vector<NodeId> items) const {
    if (items.size() % 2 != 0) refuse("a key without a value");
    return items;
  }
  void append(Kind kind, const std::vector<NodeId>& added) {
    Node& target = at(top());
    if (target.kind != kind && target.kind != Kind::call)
      refuse("values are added to what is no container");
    std::vector<NodeId>& items = target.kind == Kind::call ? target.extra : target.items;
    items.insert(items.end(), added.begin(), added.end());
  }

  bool object(std::uint8_t op) {
    switch (op) {
      case kGlobal: {
        const std::string_view module = line();
        push_global(module, line());
        return true;
      }
      case kStackGlobal: {
        const std::vector<NodeId> names = pop_count(2);
        if (at(names[0]).kind != Kind::text || at(names[1]).kind != Kind::text)
          refuse("a global without a name");
        push_global(at(names[0]).text, at(names[1]).text);
        return true;
      }
      case kReduce:
      case kNewObj:
        push(Node{.kind = Kind::call, .items = pop_count(2)});
        return true;
      case kNewObjEx: {  // class, positional, keywords: the keywords join the arguments as one more
                         // value
        const std::vector<NodeId> parts = pop_count(3);
        push(Node{
            .kind = Kind::call,
            .items = {parts[0], make(Node{.kind = Kind::tuple, .items = {parts[1], parts[2]}})}});
        return true;
      }
      case kInst: {
        const std::string_view module = line();
        push_global(module, line());
        const NodeId callee = pop();
        push(Node{.kind = Kind::call,
                  .items = {callee, make(Node{.kind = Kind::tuple, .items = pop_to_mark()})}});
        return true;
      }
      case kObj: {
        std::vector<NodeId> items = pop_to_mark();
        if (items.empty()) refuse("an object without a class");
        const NodeId callee = items.front();
        items.erase(items.begin());
        push(Node{.kind = Kind::call,
                  .items = {callee, make(Node{.kind = Kind::tuple, .items = std::move(items)})}});
        return true;
      }
      case kBuild: {
        const NodeId state = pop();
        at(top()).state = state;
        return true;
      }
      case kBinPersId:
        push(Node{.kind = Kind::persistent, .items = pop_count(1)});
        return true;
      case kPersId: {
        const NodeId id = make(Node{.kind = Kind::text, .text = line()});
        push(Node{.kind = Kind::persistent, .items = {id}});
        return true;
      }
      default:
        return false;
    }
  }
  void push_global(std::string_view module, std::string_view name) {
    constexpr std::size_t kMaxGlobalBytes = 1024;  // memoised parts could be joined into terabytes
    if (module.size() + name.size() > kMaxGlobalBytes)
      refuse("a global with a name of {} bytes", module.size() + name.size());
    document_.decoded.push_back(fmt::format("{}.{}", module, name));
    push_text(Kind::global, document_.decoded.back());
  }

  bool memo(std::uint8_t op) {
    switch (op) {
      case kPut:
        remember(memo_key(line()));
        return true;
      case kBinPut:
        remember(number<std::uint8_t>());
        return true;
      case kLongBinPut:
        remember(number<std::uint32_t>());
        return true;
      case kMemoize:
        remember(memo_.size());
        return true;
      case kGet:
        recall(memo_key(line()));
        return true;
      case kBinGet:
        recall(number<std::uint8_t>());
        return true;
      case kLongBinGet:
        recall(number<std::uint32_t>());
        return true;
      default:
        return false;
    }
  }
  std::uint64_t memo_key(std::string_view digits) {
    const Node node = decimal(digits);
    return node.big ? ~std::uint64_t{0} : static_cast<std::uint64_t>(node.integer);
  }
  void remember(std::uint64_t key) { memo_.insert_or_assign(key, top()); }
  void recall(std::uint64_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) refuse("the memo has no entry {}", key);
    push(found->second);
  }

  std::span<const std::byte> bytes_;
  bool cut_;
  const std::string& file_;
  std::uint64_t at_ = 0;
  std::uint64_t op_at_ = 0;
  Document document_;
  std::vector<NodeId> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint64_t, NodeId> memo_;
};

}  // namespace

Document parse(std::span<const std::byte> bytes, const std::string& file) {
  return Machine(bytes, file).run();
}

}  // namespace velatura::weights::pickle
