#include "lora/library/index.h"

#include <fmt/format.h>
#include <sqlite3.h>

#include <chrono>
#include <thread>
#include <utility>

#include "lora/library/record.h"

namespace velatura::lora::library {

namespace fs = std::filesystem;

namespace {

/// Of the tables below, with the records' own version behind it.
constexpr int kSchemaVersion = 2;
constexpr int kVersion = kSchemaVersion * 1000 + kRecordVersion;
/// "Vela": told apart from other programs' databases.
constexpr int kApplicationId = 0x56656c61;

// Records have rows of their own: in a tree without row numbers what exceeds a kilobyte takes a
// whole page.
constexpr const char* kSchema = R"(
  DROP TABLE IF EXISTS records;
  DROP TABLE IF EXISTS hashes;
  CREATE TABLE records (path BLOB PRIMARY KEY, bytes INTEGER, changed INTEGER, sidecars INTEGER,
                        record BLOB);
  CREATE TABLE hashes (path BLOB, kind INTEGER, bytes INTEGER, changed INTEGER, hex TEXT,
                       PRIMARY KEY (path, kind)) WITHOUT ROWID;
)";

struct SqliteError {
  int code;
  std::string text;
  bool is_damage() const { return code == SQLITE_CORRUPT || code == SQLITE_NOTADB; }
  bool is_busy() const { return code == SQLITE_BUSY; }
};

/// Longer than any transaction of ours takes; shorter than a person waits without a word.
constexpr int kPatienceMilliseconds = 5000;
constexpr std::chrono::milliseconds kPause{5};

}  // namespace

struct Index::Connection {
  sqlite3* handle = nullptr;
  ~Connection() { sqlite3_close_v2(handle); }

  [[noreturn]] void raise() const {
    throw SqliteError{handle == nullptr ? SQLITE_NOMEM : sqlite3_errcode(handle),
                      handle == nullptr ? "out of memory" : sqlite3_errmsg(handle)};
  }
  void run(const char* sql) const {
    if (sqlite3_exec(handle, sql, nullptr, nullptr, nullptr) != SQLITE_OK) raise();
  }
  int number(const char* sql) const;
};

class Index::Statement {
 public:
  Statement(const Connection& connection, const char* sql) : connection_(connection) {
    if (sqlite3_prepare_v2(connection.handle, sql, -1, &statement_, nullptr) != SQLITE_OK)
      connection.raise();
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  // The bytes must live until step().
  void bind_bytes(int at, std::string_view bytes) {
    check(sqlite3_bind_blob64(statement_, at, bytes.data(), bytes.size(), SQLITE_STATIC));
  }
  void bind(int at, std::uint64_t value) {
    check(sqlite3_bind_int64(statement_, at, static_cast<sqlite3_int64>(value)));
  }
  void bind_signed(int at, std::int64_t value) { check(sqlite3_bind_int64(statement_, at, value)); }
  bool step() {
    const int code = sqlite3_step(statement_);
    if (code != SQLITE_ROW && code != SQLITE_DONE) connection_.raise();
    return code == SQLITE_ROW;
  }
  void reset() { sqlite3_reset(statement_); }
  std::string_view bytes(int column) {
    const void* data = sqlite3_column_blob(statement_, column);
    const int length = sqlite3_column_bytes(statement_, column);
    return data == nullptr
               ? std::string_view()
               : std::string_view(static_cast<const char*>(data), static_cast<std::size_t>(length));
  }
  std::int64_t number(int column) { return sqlite3_column_int64(statement_, column); }

 private:
  void check(int code) const {
    if (code != SQLITE_OK) connection_.raise();
  }
  const Connection& connection_;
  sqlite3_stmt* statement_ = nullptr;
};

int Index::Connection::number(const char* sql) const {
  Statement statement(*this, sql);
  return statement.step() ? static_cast<int>(statement.number(0)) : 0;
}

namespace {

/// Rolls back unless it was committed.
template <typename Connection>
class Transaction {
 public:
  explicit Transaction(const Connection& connection) : connection_(connection) {
    connection_.run("BEGIN IMMEDIATE");
  }
  ~Transaction() {
    if (open_) sqlite3_exec(connection_.handle, "ROLLBACK", nullptr, nullptr, nullptr);
  }
  Transaction(const Transaction&) = delete;
  Transaction& operator=(const Transaction&) = delete;
  void commit() {
    connection_.run("COMMIT");
    open_ = false;
  }

 private:
  const Connection& connection_;
  bool open_ = true;
};

}  // namespace

Index::Index(const fs::path& path) : path_(path) {
  if (path_.empty()) {
    open_in_memory({});
    return;
  }
  std::error_code ignored;
  fs::create_directories(path_.parent_path(), ignored);
  try {
    open_when_free();
  } catch (const SqliteError& error) {
    if (error.is_damage()) {
      replace_damaged(error.text);
    } else {
      open_in_memory(error.text);
    }
  }
}

Index::~Index() = default;

/// SQLite waits for other processes everywhere but where a new file turns to a write-ahead log.
void Index::open_when_free() {
  const auto end =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(kPatienceMilliseconds);
  for (bool is_open = false; !is_open;) {
    try {
      open();
      is_open = true;
    } catch (const SqliteError& error) {
      if (!error.is_busy() || std::chrono::steady_clock::now() > end) throw;
      std::this_thread::sleep_for(kPause);
    }
  }
}

void Index::open() {
  connection_ = std::make_unique<Connection>();
  // One mutex of our own guards the connection.
  constexpr int kFlags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  if (sqlite3_open_v2(path_.c_str(), &connection_->handle, kFlags, nullptr) != SQLITE_OK)
    connection_->raise();
  sqlite3_busy_timeout(connection_->handle, kPatienceMilliseconds);
  // One look at all three: another process may be making the tables between two.
  connection_->run("BEGIN");
  const int version = connection_->number("PRAGMA user_version");
  const int application = connection_->number("PRAGMA application_id");
  const int tables = connection_->number("SELECT count(*) FROM sqlite_master");
  connection_->run("COMMIT");
  if (application != kApplicationId && tables > 0)
    throw SqliteError{SQLITE_NOTADB, "it is another program's database"};
  // Holds several records; of a new file alone, and before its first page is written.
  connection_->run("PRAGMA page_size=16384");
  connection_->run("PRAGMA journal_mode=WAL");
  // What a power cut takes back is read again.
  connection_->run("PRAGMA synchronous=NORMAL");
  if (version == kVersion && application == kApplicationId) {
    // A home that has become read-only still opens for writing: asked now, so that it is said once.
    Transaction transaction(*connection_);
    transaction.commit();
    return;
  }
  Transaction transaction(*connection_);
  // Another process may have been faster.
  if (connection_->number("PRAGMA user_version") == kVersion) return;
  connection_->run(kSchema);
  connection_->run(fmt::format("PRAGMA user_version={}", kVersion).c_str());
  connection_->run(fmt::format("PRAGMA application_id={}", kApplicationId).c_str());
  transaction.commit();
  if (application == kApplicationId) {
    notes_.push_back(
        fmt::format("the index \"{}\" was of another version and is built anew", path_.string()));
  }
}

void Index::open_in_memory(const std::string& why) {
  if (!why.empty()) {
    notes_.push_back(
        fmt::format("the index \"{}\" cannot be used ({}): nothing is remembered until the next "
                    "start",
                    path_.string(), why));
  }
  path_.clear();
  connection_ = std::make_unique<Connection>();
  if (sqlite3_open_v2(":memory:", &connection_->handle,
                      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                      nullptr) != SQLITE_OK)
    connection_->raise();
  connection_->run(kSchema);
}

void Index::replace_damaged(const std::string& why) {
  connection_.reset();
  // Kept for one look, out of the way: it may be another program's.
  std::error_code error;
  fs::path aside = path_;
  aside += ".damaged";
  fs::rename(path_, aside, error);
  for (const char* companion : {"-wal", "-shm"}) {
    fs::path file = path_;
    file += companion;
    std::error_code ignored;
    fs::remove(file, ignored);
  }
  if (error) {
    open_in_memory(fmt::format("{}; it cannot be moved away: {}", why, error.message()));
    return;
  }
  notes_.push_back(
      fmt::format("the index \"{}\" was damaged ({}) and is built anew; the old one is "
                  "\"{}\"",
                  path_.string(), why, aside.string()));
  try {
    open();
  } catch (const SqliteError& again) {
    open_in_memory(again.text);
  }
}

void Index::guarded(const char* doing, const std::function<void()>& work) {
  const std::lock_guard lock(mutex_);
  try {
    work();
  } catch (const SqliteError& error) {
    if (error.is_damage() && !path_.empty()) {
      replace_damaged(error.text);
      try {
        work();
      } catch (const SqliteError& again) {
        notes_.push_back(fmt::format("{} the new index: {}", doing, again.text));
      }
    } else {
      notes_.push_back(fmt::format("{} the index: {}", doing, error.text));
    }
  }
}

void Index::each_record(const OnRecord& on_record) {
  guarded("reading", [&] {
    Statement query(*connection_, "SELECT path, bytes, changed, sidecars, record FROM records");
    while (query.step()) {
      const Stamp stamp{.bytes = static_cast<std::uint64_t>(query.number(1)),
                        .changed = query.number(2),
                        .sidecars = static_cast<std::uint64_t>(query.number(3))};
      on_record(query.bytes(0), stamp, query.bytes(4));
    }
  });
}

void Index::put(std::span<const Record> records) {
  if (records.empty()) return;
  guarded("writing", [&] {
    Transaction transaction(*connection_);
    Statement insert(*connection_, "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?)");
    for (const Record& record : records) {
      insert.bind_bytes(1, record.path);
      insert.bind(2, record.stamp.bytes);
      insert.bind_signed(3, record.stamp.changed);
      insert.bind(4, record.stamp.sidecars);
      insert.bind_bytes(5, record.bytes);
      insert.step();
      insert.reset();
    }
    transaction.commit();
  });
}

void Index::remove(std::span<const std::string> paths) {
  if (paths.empty()) return;
  guarded("writing", [&] {
    Transaction transaction(*connection_);
    Statement erase(*connection_, "DELETE FROM records WHERE path = ?");
    for (const std::string& path : paths) {
      erase.bind_bytes(1, path);
      erase.step();
      erase.reset();
    }
    transaction.commit();
  });
}

void Index::each_hash(const std::function<void(const Hash&)>& on_hash) {
  guarded("reading", [&] {
    Statement query(*connection_, "SELECT path, kind, bytes, changed, hex FROM hashes");
    while (query.step()) {
      const std::int64_t kind = query.number(1);
      if (kind < 0 || kind > static_cast<std::int64_t>(HashKind::auto_v3)) continue;
      on_hash({.path = std::string(query.bytes(0)),
               .kind = static_cast<HashKind>(kind),
               .bytes = static_cast<std::uint64_t>(query.number(2)),
               .changed = query.number(3),
               .hex = std::string(query.bytes(4))});
    }
  });
}

void Index::put_hashes(std::span<const Hash> hashes) {
  if (hashes.empty()) return;
  guarded("writing", [&] {
    Transaction transaction(*connection_);
    Statement insert(*connection_, "INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)");
    for (const Hash& hash : hashes) {
      insert.bind_bytes(1, hash.path);
      insert.bind_signed(2, static_cast<std::int64_t>(hash.kind));
      insert.bind(3, hash.bytes);
      insert.bind_signed(4, hash.changed);
      insert.bind_bytes(5, hash.hex);
      insert.step();
      insert.reset();
    }
    transaction.commit();
  });
}

std::vector<std::string> Index::take_notes() {
  const std::lock_guard lock(mutex_);
  return std::exchange(notes_, {});
}

}  // namespace velatura::lora::library
