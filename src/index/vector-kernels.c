/* vector-kernels.c - bits that differ, and products of bytes: in C, with AVX2, with AVX-512 (VPOPCNTDQ), with NEON. All give the same
 * numbers.
 *
 * Counting bits with AVX2: a table of the 16 nibbles' counts, looked up with a shuffle (Mula, Kurz, Lemire, "Faster Population Counts Using
 * AVX2 Instructions", 2016). A signature is 6 words for 384 dimensions and 12 for 768, so what is left of a row after whole registers
 * matters: AVX-512 masks it, AVX2 counts it word by word.
 */
#include "index/vector-kernels.h"

#include "base/mem.h"

static bool always(void)
{
	return true;
}

static void hamming_c(const uint64_t *query, const uint64_t *rows, size_t n_words, size_t n, uint16_t *ret)
{
	for (size_t i = 0; i < n; i++, rows += n_words) {
		unsigned bits = 0;
		for (size_t w = 0; w < n_words; w++)
			bits += (unsigned)__builtin_popcountll(query[w] ^ rows[w]);
		ret[i] = (uint16_t)bits;
	}
}

static int32_t dot_c(const int8_t *a, const int8_t *b, size_t n)
{
	int32_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += a[i] * b[i];
	return sum;
}

static const vector_kernels row_c = {"c", always, hamming_c, dot_c};

#ifdef __x86_64__
#include <immintrin.h>

#define AVX2 __attribute__((target("avx2,popcnt")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512vpopcntdq")))

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt");
}
static bool has_avx512(void)
{
	return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
	       __builtin_cpu_supports("avx512vpopcntdq");
}

AVX2 static inline __m256i bits_of_bytes(__m256i v)
{
	const __m256i counts = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3,
	                                        4);
	const __m256i low = _mm256_set1_epi8(15);
	return _mm256_add_epi8(_mm256_shuffle_epi8(counts, _mm256_and_si256(v, low)),
	                       _mm256_shuffle_epi8(counts, _mm256_and_si256(_mm256_srli_epi16(v, 4), low)));
}

AVX2 static void hamming_avx2(const uint64_t *query, const uint64_t *rows, size_t n_words, size_t n, uint16_t *ret)
{
	for (size_t i = 0; i < n; i++, rows += n_words) {
		__m256i sum = _mm256_setzero_si256();
		size_t w = 0;
		for (; w + 4 <= n_words; w += 4) {
			__m256i x = _mm256_xor_si256(_mm256_loadu_si256((const __m256i *)(query + w)),
			                             _mm256_loadu_si256((const __m256i *)(rows + w)));
			sum = _mm256_add_epi64(sum, _mm256_sad_epu8(bits_of_bytes(x), _mm256_setzero_si256()));
		}
		__m128i half = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
		uint64_t bits = (uint64_t)_mm_cvtsi128_si64(half) + (uint64_t)_mm_extract_epi64(half, 1);
		for (; w < n_words; w++)
			bits += (uint64_t)__builtin_popcountll(query[w] ^ rows[w]);
		ret[i] = (uint16_t)bits;
	}
}

AVX2 static int32_t dot_avx2(const int8_t *a, const int8_t *b, size_t n)
{
	__m256i sum = _mm256_setzero_si256();
	for (size_t i = 0; i < n; i += 16)
		sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(a + i))),
		                                              _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)(b + i)))));
	__m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
	half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
	return _mm_cvtsi128_si32(half);
}

AVX512 static void hamming_avx512(const uint64_t *query, const uint64_t *rows, size_t n_words, size_t n, uint16_t *ret)
{
	__mmask8 last = (__mmask8)(n_words % 8 == 0 ? 0xff : (1u << n_words % 8) - 1);
	size_t whole = (n_words - 1) / 8 * 8;
	for (size_t i = 0; i < n; i++, rows += n_words) {
		__m512i sum = _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_maskz_loadu_epi64(last, query + whole),
		                                                   _mm512_maskz_loadu_epi64(last, rows + whole)));
		for (size_t w = 0; w < whole; w += 8)
			sum = _mm512_add_epi64(sum, _mm512_popcnt_epi64(_mm512_xor_si512(_mm512_loadu_si512(query + w),
			                                                                 _mm512_loadu_si512(rows + w))));
		ret[i] = (uint16_t)_mm512_reduce_add_epi64(sum);
	}
}

AVX512 static int32_t dot_avx512(const int8_t *a, const int8_t *b, size_t n)
{
	__m512i sum = _mm512_setzero_si512();
	for (size_t i = 0; i < n; i += 32)
		sum = _mm512_add_epi32(sum, _mm512_madd_epi16(_mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(a + i))),
		                                              _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)(b + i)))));
	return _mm512_reduce_add_epi32(sum);
}

static const vector_kernels row_avx2 = {"avx2", has_avx2, hamming_avx2, dot_avx2};
static const vector_kernels row_avx512 = {"avx512", has_avx512, hamming_avx512, dot_avx512};
static const vector_kernels *const rows[] = {&row_c, &row_avx2, &row_avx512};

#elif defined(__aarch64__)
#include <arm_neon.h>

static void hamming_neon(const uint64_t *query, const uint64_t *rows, size_t n_words, size_t n, uint16_t *ret)
{
	for (size_t i = 0; i < n; i++, rows += n_words) {
		uint16x8_t sum = vdupq_n_u16(0);
		size_t w = 0;
		for (; w + 2 <= n_words; w += 2)
			sum = vpadalq_u8(sum, vcntq_u8(vreinterpretq_u8_u64(veorq_u64(vld1q_u64(query + w), vld1q_u64(rows + w)))));
		unsigned bits = vaddlvq_u16(sum);
		if (w < n_words)
			bits += (unsigned)__builtin_popcountll(query[w] ^ rows[w]);
		ret[i] = (uint16_t)bits;
	}
}

static int32_t dot_neon(const int8_t *a, const int8_t *b, size_t n)
{
	int32x4_t sum = vdupq_n_s32(0);
	for (size_t i = 0; i < n; i += 16) {
		int8x16_t x = vld1q_s8(a + i), y = vld1q_s8(b + i);
		sum = vpadalq_s16(sum, vmull_s8(vget_low_s8(x), vget_low_s8(y)));
		sum = vpadalq_s16(sum, vmull_high_s8(x, y));
	}
	return vaddvq_s32(sum);
}

static const vector_kernels row_neon = {"neon", always, hamming_neon, dot_neon};
static const vector_kernels *const rows[] = {&row_c, &row_neon};

#else
static const vector_kernels *const rows[] = {&row_c};
#endif

const vector_kernels *const *vector_kernels_all(size_t *ret_n)
{
	*ret_n = HTH_COUNT(rows);
	return rows;
}

const vector_kernels *vector_kernels_best(void)
{
	for (size_t i = HTH_COUNT(rows); i-- > 1;)
		if (rows[i]->works())
			return rows[i];
	return &row_c;
}
