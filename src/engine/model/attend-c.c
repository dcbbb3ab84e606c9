/* attend-c.c - attention's inner loop for any processor: vectors of four, halves converted one by one. The reference.
 */
#define LANES 4
#define ROWS 1
#define ROW_NAME "c"
#define ROW_SYMBOL hth_attend_c
#define load_f16(p)                                                                                                    \
	((vf){hth_f16_to_f32((p)[0]), hth_f16_to_f32((p)[1]), hth_f16_to_f32((p)[2]), hth_f16_to_f32((p)[3])})
#define any_above(a, b) ((a)[0] > (b)[0] || (a)[1] > (b)[1] || (a)[2] > (b)[2] || (a)[3] > (b)[3])
#define larger(a, b) ((a) > (b) ? (a) : (b))
#define largest(a) larger(larger((a)[0], (a)[1]), larger((a)[2], (a)[3]))
#include "engine/model/attend-body.inc"
