/* cpu.c - what this processor can run. Compiled with no instruction-set flags: it runs everywhere. */
#include "engine/kernels/cpu.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <stdint.h>

/* The state (registers) that the operating system saves: XCR0. */
static uint64_t saved_state(void)
{
	uint32_t low, high;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return (uint64_t)high << 32 | low;
}

typedef struct features {
	uint32_t leaf1_c, leaf7_b, leaf7_c, leaf7_1_a;
	uint64_t state;
} features;

static features read_features(void)
{
	features f = {0};
	uint32_t a, b, c, d;
	if (__get_cpuid(1, &a, &b, &c, &d) == 0)
		return f;
	f.leaf1_c = c;
	if (c & bit_OSXSAVE)
		f.state = saved_state();
	if (__get_cpuid_count(7, 0, &a, &b, &c, &d) != 0) {
		f.leaf7_b = b;
		f.leaf7_c = c;
		if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d) != 0)
			f.leaf7_1_a = a;
	}
	return f;
}

/* AMD's family; 0: another maker's. */
static uint32_t amd_family(void)
{
	uint32_t a, b, c, d;
	if (__get_cpuid(0, &a, &b, &c, &d) == 0 || b != signature_AMD_ebx || c != signature_AMD_ecx || d != signature_AMD_edx)
		return 0;
	__get_cpuid(1, &a, &b, &c, &d);
	uint32_t family = a >> 8 & 15;
	return family == 15 ? family + (a >> 20 & 255) : family;
}
enum { ZEN_4 = 25, ZEN_5 = 26 };

/* On a Zen 4 the second level is faster by a fifth to two thirds, on a Zen 5 the first. Others were not measured, and have no more places
 * for first-level misses than a Zen 4. */
bool hth_cpu_asks_near(void) { return amd_family() >= ZEN_5; }
bool hth_cpu_halves_vectors(void) { return amd_family() == ZEN_4; }

static bool has(uint32_t word, uint32_t bits) { return (word & bits) == bits; }

bool hth_cpu_has_avx2(void)
{
	features f = read_features();
	return (f.state & 6) == 6 && has(f.leaf1_c, bit_AVX | bit_FMA | bit_F16C) && has(f.leaf7_b, bit_AVX2);
}

bool hth_cpu_has_avxvnni(void)
{
	return hth_cpu_has_avx2() && has(read_features().leaf7_1_a, bit_AVXVNNI);
}

bool hth_cpu_has_avx512(void)
{
	features f = read_features();
	uint32_t base = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL | bit_BMI2;
	return hth_cpu_has_avx2() && (f.state & 0xE6) == 0xE6 && has(f.leaf7_b, base) &&
	       has(f.leaf7_c, bit_AVX512VNNI | bit_AVX512VBMI | bit_GFNI);
}
#elif defined(__aarch64__)
#include <asm/hwcap.h>
#include <sys/auxv.h>

/* Not known to old system headers. */
#ifndef HWCAP2_I8MM
#define HWCAP2_I8MM (1 << 13)
#endif

bool hth_cpu_has_dotprod(void) { return (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0; }
bool hth_cpu_asks_near(void) { return true; } /* not measured */
bool hth_cpu_halves_vectors(void) { return false; }
bool hth_cpu_has_i8mm(void) { return hth_cpu_has_dotprod() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0; }
#else
bool hth_cpu_asks_near(void) { return true; }
bool hth_cpu_halves_vectors(void) { return false; }
#endif
