/* measure.h - what this machine can do at most, measured with the kernel row in use: the two limits that a model runs
 * against. For `hearth bench`, which prints speeds as shares of them. Takes 256 MiB while it measures.
 */
#ifndef HTH_ENGINE_MEASURE_H
#define HTH_ENGINE_MEASURE_H

#include "engine/kernels/kernels.h"

/* threads: all of them work; borrowed until destroy. */
typedef struct hth_measure hth_measure;
HTH_MUST_USE hth_status hth_measure_create(hth_measure **ret_measure, hth_threads *threads, hth_error *err); /* HTH_NO_MEMORY */
void hth_measure_destroy(hth_measure *measure);
/* Reading a buffer much larger than the caches, for at least so long and at least once (3 to 30 ms), in turns with something else: 10^9
 * bytes a second. */
double hth_measure_read_gb_s(hth_measure *measure, uint64_t at_least_ns);
typedef enum hth_mac_kind {
	/* small codes by 8-bit activations: the row's best instruction mix (AVX2: products summed in 16 bits; AVX-512: dot products into
	 * 32) */
	HTH_MAC_CODES,
	HTH_MAC_WIDE,  /* the same when every pair of products is widened to 32 bits at once (8-bit weights) */
	HTH_MAC_FIXED, /* 16-bit integers into 32 bits (F16 by many tokens), where the row has those; else as the next */
	HTH_MAC_FLOAT, /* fused multiply-adds of floats */
	HTH_MAC_KINDS
} hth_mac_kind;
double hth_measure_mac_g(hth_measure *measure, hth_mac_kind kind); /* for some 20 ms: 10^9 multiply-adds a second */

#endif
