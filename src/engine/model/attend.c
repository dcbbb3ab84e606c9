/* attend.c - which row of the attention table runs: the one named like the row that engine/kernels chose. */
#include "engine/model/attend.h"

#include "base/mem.h"
#include "engine/kernels/kernels.h"

static bool avx2_runs(void)
{
#ifdef HTH_HAVE_AVX2
	return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); /* F16C is older than AVX2 */
#else
	return false;
#endif
}

static bool avx512_runs(void)
{
#ifdef HTH_HAVE_AVX512
	return avx2_runs() && __builtin_cpu_supports("avx512f");
#else
	return false;
#endif
}

const hth_attend_ops_row *hth_attend_find(const char *name)
{
	if (strcmp(name, "c") == 0)
		return &hth_attend_c;
#ifdef HTH_HAVE_AVX2
	if (strcmp(name, "avx2") == 0 && avx2_runs())
		return &hth_attend_avx2;
#endif
#ifdef HTH_HAVE_AVX512
	if (strcmp(name, "avx512") == 0 && avx512_runs())
		return &hth_attend_avx512;
#endif
#ifdef HTH_HAVE_NEON
	if (strcmp(name, "neon") == 0)
		return &hth_attend_neon;
#endif
	(void)avx2_runs;
	(void)avx512_runs;
	return NULL;
}

const hth_attend_ops_row *hth_attend_ops(void)
{
	/* kernels' names may say more ("neondot"); what follows the set's name makes no difference here. */
	static const char *const sets[] = {"avx512", "avx2", "neon"};
	const char *name = hth_kernels_name();
	for (size_t i = 0; i < HTH_COUNT(sets); i++)
		if (strncmp(name, sets[i], strlen(sets[i])) == 0 && hth_attend_find(sets[i]) != NULL)
			return hth_attend_find(sets[i]);
	return &hth_attend_c;
}
