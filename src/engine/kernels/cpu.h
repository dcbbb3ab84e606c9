/* cpu.h - what this processor can run. Internal to this folder. */
#ifndef HTH_ENGINE_CPU_H
#define HTH_ENGINE_CPU_H

#include <stdbool.h>

/* Whether what is asked for ahead is best asked for into the first-level cache (kernel-row.h, hth_asks_near). */
bool hth_cpu_asks_near(void);
/* Whether 512-bit vectors go through the pipes in two halves. */
bool hth_cpu_halves_vectors(void);
bool hth_cpu_has_avx2(void);   /* with FMA and F16C, as every processor but a few has together */
bool hth_cpu_has_avxvnni(void); /* and AVX2: Alder Lake and its small cores, Zen 5, later */
bool hth_cpu_has_avx512(void); /* F, BW, DQ, VL, VNNI, with GFNI and BMI2: Ice Lake, Zen 4 and later */
bool hth_cpu_has_dotprod(void); /* ARM: SDOT and UDOT */
bool hth_cpu_has_i8mm(void);    /* and SMMLA */

#endif
