/* measure.h - what this machine can do at most, measured with the kernel row in use: the two limits that a model runs
 * against. For `hearth bench`, which prints speeds as shares of them. Takes about half a second and 256 MiB for a moment.
 */
#ifndef HTH_ENGINE_MEASURE_H
#define HTH_ENGINE_MEASURE_H

#include "engine/kernels/kernels.h"

/* All workers of a pool together; the best of several short rounds, since other work on the machine only takes away. */
typedef struct hth_machine_speed {
	double read_gb_s;       /* reading a buffer much larger than the caches, 10^9 bytes a second */
	double mac_codes_g;     /* 10^9 multiply-adds a second of small codes by 8-bit activations: the row's best instruction
	                         * mix (AVX2: products summed in 16 bits; AVX-512: dot products into 32 bits) */
	double mac_wide_g;      /* the same when every pair of products is widened to 32 bits at once (8-bit weights) */
	double mac_float_g;     /* fused multiply-adds of floats */
	unsigned threads;
} hth_machine_speed;
HTH_MUST_USE hth_status hth_measure_machine(hth_threads *threads, hth_machine_speed *ret_speed, hth_error *err);

/* Parts of it, for measuring in turns with something else: one round of some 20 ms each. */
typedef struct hth_measure hth_measure;
HTH_MUST_USE hth_status hth_measure_create(hth_measure **ret_measure, hth_threads *threads, hth_error *err);
void hth_measure_destroy(hth_measure *measure);
double hth_measure_read_gb_s(hth_measure *measure);
typedef enum hth_mac_kind { HTH_MAC_CODES, HTH_MAC_WIDE, HTH_MAC_FLOAT, HTH_MAC_KINDS } hth_mac_kind;
double hth_measure_mac_g(hth_measure *measure, hth_mac_kind kind);

#endif
