/* mem.c - memory in large pieces. */
#include "base/mem.h"

#include <sys/mman.h>

void *hth_alloc_large(size_t n)
{
	enum { LINE = 64, HUGE = 2 << 20 };
	void *data;
	if (posix_memalign(&data, n >= HUGE ? HUGE : LINE, HTH_MAX(n, (size_t)LINE)) != 0)
		return NULL;
	if (n >= HUGE) /* whole huge pages of it only; where the kernel declines nothing is lost but speed */
		(void)madvise(data, n / HUGE * HUGE, MADV_HUGEPAGE);
	return data;
}
