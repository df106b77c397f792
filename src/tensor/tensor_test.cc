#include "tensor/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <vector>

#include "tensor/f8.h"
#include "velatura/error.h"

namespace velatura {
namespace {

template <typename Call>
ErrorKind error_of(const Call& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.kind();
  }
  ADD_FAILURE() << "no error";
  return ErrorKind::cancelled;
}

TEST(Shape, CountsAndPrints) {
  EXPECT_EQ(Shape{}.count(), 1);
  EXPECT_EQ((Shape{2, 77, 768}).count(), 2 * 77 * 768);
  EXPECT_EQ((Shape{5, 0, 3}).count(), 0);
  EXPECT_EQ((Shape{2, 77, 768}).to_string(), "[2, 77, 768]");
  EXPECT_EQ(Shape{}.to_string(), "[]");
  EXPECT_EQ((Shape{2, 3})[-1], 3);
  EXPECT_NE((Shape{2, 3}), (Shape{2, 3, 1}));
}

/// Shapes come from files: each is hostile.
TEST(Shape, RefusesWhatCannotBe) {
  EXPECT_EQ(error_of([] { Shape{3, -1}; }), ErrorKind::bad_file);
  EXPECT_EQ(error_of([] { Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}; }), ErrorKind::bad_file);
  const std::int64_t huge = std::int64_t{1} << 32;
  EXPECT_EQ(error_of([=] { (void)Shape{huge, huge}.count(); }), ErrorKind::bad_file);
  EXPECT_EQ(error_of([=] {
              Tensor::allocate({huge / 2, huge / 4 - 1}, DType::f64);
            }),
            ErrorKind::out_of_memory);
}

TEST(DType, SizesAndKinds) {
  for (const DType type :
       {DType::f64, DType::f32, DType::f16, DType::bf16, DType::f8_e4m3, DType::f8_e5m2, DType::i64,
        DType::i32, DType::i16, DType::i8, DType::u8, DType::boolean}) {
    EXPECT_EQ(Tensor::zeros({3}, type).byte_size(), 3 * size_of(type));
    EXPECT_NE(to_string(type), "?");
  }
  EXPECT_TRUE(is_floating(DType::f8_e5m2));
  EXPECT_FALSE(is_floating(DType::i64));
}

TEST(Tensor, TheDefaultOneIsAbsent) {
  EXPECT_FALSE(Tensor().defined());
  EXPECT_TRUE(Tensor::zeros({}, DType::f32).defined());
  EXPECT_TRUE(Tensor::zeros({0}, DType::f32).defined());
}

TEST(Tensor, IsAlignedAndShared) {
  Tensor tensor = Tensor::zeros({3, 5}, DType::f32);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(tensor.bytes()) % 64, 0u);
  const Tensor same = tensor;
  tensor.mutable_floats()[7] = 2;
  EXPECT_EQ(same.floats()[7], 2);
  const Tensor copy = tensor.clone();
  tensor.mutable_floats()[7] = 3;
  EXPECT_EQ(copy.floats()[7], 2);
}

TEST(Tensor, ViewsAreOuterSlicesOrOtherShapes) {
  const std::vector<float> values{0, 1, 2, 3, 4, 5};
  const Tensor tensor = Tensor::from(values, {3, 2});
  const Tensor last = tensor.slice(1, 3);
  EXPECT_EQ(last.shape(), (Shape{2, 2}));
  EXPECT_EQ(last.floats()[0], 2);
  EXPECT_EQ(tensor.slice(3, 3).count(), 0);
  EXPECT_EQ(tensor.reshaped({2, 3}).floats()[5], 5);
  EXPECT_EQ(last.slice(1, 2).floats()[1], 5);
  EXPECT_EQ(error_of([&] { (void)tensor.slice(2, 4); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { (void)tensor.slice(-1, 1); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { (void)tensor.slice(2, 1); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { (void)tensor.reshaped({7}); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { (void)tensor.data<double>(); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { (void)Tensor::from(values, {5}); }), ErrorKind::internal);
}

TEST(Tensor, StorageMustHoldTheShape) {
  std::vector<float> memory(4);
  const Storage storage{nullptr, reinterpret_cast<std::byte*>(memory.data()), 16};
  EXPECT_EQ(Tensor(storage, {4}, DType::f32).count(), 4);
  EXPECT_EQ(error_of([&] { Tensor(storage, {5}, DType::f32); }), ErrorKind::internal);
  EXPECT_EQ(error_of([&] { Tensor(storage, {3}, DType::f64); }), ErrorKind::internal);
}

/// 2⁶¹ elements of 8 bytes are 2⁶⁴ bytes, which must not wrap around to none.
TEST(Tensor, ByteSizesDoNotWrapAround) {
  std::vector<float> memory(4);
  const Storage storage{nullptr, reinterpret_cast<std::byte*>(memory.data()), 16};
  const std::int64_t many = std::int64_t{1} << 61;
  EXPECT_NE(error_of([&] { Tensor(storage, {many}, DType::f64); }), ErrorKind::cancelled);
}

TEST(Tensor, ConvertsThroughF32) {
  const std::vector<float> values{0, -1.5f, 3.140625f, 1024, -0.0078125f};
  const Tensor tensor = Tensor::from(values, {5});
  for (const DType type : {DType::f32, DType::f64, DType::f16, DType::bf16}) {
    const Tensor back = to_f32(from_f32(tensor, type));
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_EQ(back.floats()[i], values[i]);
  }
  Tensor integers = Tensor::allocate({2}, DType::i64);
  integers.mutable_data<std::int64_t>()[0] = -3;
  integers.mutable_data<std::int64_t>()[1] = 49407;
  EXPECT_EQ(to_f32(integers).floats()[0], -3);
  EXPECT_EQ(to_f32(integers).floats()[1], 49407);
  EXPECT_EQ(error_of([&] { (void)from_f32(tensor, DType::i64); }), ErrorKind::unsupported);
}

/// All bytes against the definitions of the OCP 8-bit formats: e4m3 bias 7, only 0x7f is not a
/// number; e5m2 bias 15 with infinities.
TEST(F8, DecodesEveryByte) {
  const auto decode = [](int bits, int mantissa_bits, int bias) {
    const int exponent = (bits & 0x7f) >> mantissa_bits;
    const int mantissa = bits & ((1 << mantissa_bits) - 1);
    const double magnitude = exponent == 0 ? std::ldexp(mantissa, 1 - bias - mantissa_bits)
                                           : std::ldexp((1 << mantissa_bits) + mantissa,
                                                        exponent - bias - mantissa_bits);
    return bits & 0x80 ? -magnitude : magnitude;
  };
  for (int bits = 0; bits < 256; ++bits) {
    const float e4m3 = f8_e4m3_to_float(static_cast<std::uint8_t>(bits));
    const float e5m2 = f8_e5m2_to_float(static_cast<std::uint8_t>(bits));
    if ((bits & 0x7f) == 0x7f) {
      EXPECT_TRUE(std::isnan(e4m3));
    } else {
      EXPECT_EQ(e4m3, decode(bits, 3, 7)) << bits;
    }
    if ((bits & 0x7c) != 0x7c) {
      EXPECT_EQ(e5m2, decode(bits, 2, 15)) << bits;
    } else if ((bits & 3) == 0) {
      EXPECT_TRUE(std::isinf(e5m2));
    } else {
      EXPECT_TRUE(std::isnan(e5m2));
    }
  }
}

}  // namespace
}  // namespace velatura
