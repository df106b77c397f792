// Opens a region whose functions may use AVX-512 with bf16 dot products, whatever the file is
// compiled for; closed by avx512_bf16_end.h. Included after all other headers, so that no shared
// inline function is compiled for that CPU alone. No include guard: one pair a region.
#if defined(__clang__)
#pragma clang attribute push(                                                              \
        __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma"))), \
            apply_to = function)
#else
// GCC 12's own header initialises "undefined" registers with themselves (GCC bug 105593).
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,bmi2,fma")
#endif
