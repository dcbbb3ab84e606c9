/* rng.h - a small deterministic generator for sampling and tests; never for secrets.
 * xoshiro256** 1.0 (Blackman and Vigna, 2018), seeded through splitmix64. */
#ifndef HTH_BASE_RNG_H
#define HTH_BASE_RNG_H

#include <stdint.h>

typedef struct hth_rng {
	uint64_t s[4];
} hth_rng;

static inline void hth_rng_seed(hth_rng *rng, uint64_t seed)
{
	for (int i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9E3779B97F4A7C15u;
		z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
		z = (z ^ z >> 27) * 0x94D049BB133111EBu;
		rng->s[i] = z ^ z >> 31;
	}
}

static inline uint64_t hth_rng_next(hth_rng *rng)
{
	uint64_t *s = rng->s;
	uint64_t m = s[1] * 5;
	uint64_t result = (m << 7 | m >> 57) * 9;
	uint64_t t = s[1] << 17;
	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = s[3] << 45 | s[3] >> 19;
	return result;
}

/* Uniform in [0, 1), 53 bits. */
static inline double hth_rng_unit(hth_rng *rng) { return (double)(hth_rng_next(rng) >> 11) * 0x1.0p-53; }

#endif
