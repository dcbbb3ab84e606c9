/* asan-checks.c - the address sanitizer's check of a vector, for builds with it: the same check in a few instructions.
 *
 * The rows' files are compiled with checks as calls (meson.build says why), and what the compiler's library does there is its walk through
 * buffers of any size: two thirds of the processor's time of all tests went into it. The linker hands those calls to the functions here
 * (--wrap). Eight bytes of memory have one in the shadow, which is 0 where all eight may be touched; a vector of up to 64 bytes may be
 * where eight bytes of the shadow, from its first byte's on, and its last byte's are 0. Wherever they are not (a buffer's last bytes; what
 * lies behind it) the library decides, and reports.
 *
 * Where the shadow is: ix86_asan_shadow_offset in gcc's config/i386/i386.cc; what is compiled and the library agree on it.
 */
#include <stdint.h>

void __real___asan_loadN(uintptr_t at, uintptr_t size);
void __real___asan_storeN(uintptr_t at, uintptr_t size);
void __wrap___asan_loadN(uintptr_t at, uintptr_t size);
void __wrap___asan_storeN(uintptr_t at, uintptr_t size);

#define SHADOW(at) ((const uint8_t *)(((at) >> 3) + 0x7fff8000))
#define UNCHECKED __attribute__((no_sanitize("address", "undefined")))

UNCHECKED static inline int is_open(uintptr_t at, uintptr_t size)
{
	if (size - 1 >= 64)
		return 0;
	uint64_t first = 0;
	if (size > 32)
		__builtin_memcpy(&first, SHADOW(at), 8);
	else
		__builtin_memcpy(&first, SHADOW(at), 4);
	return (first | *SHADOW(at + size - 1)) == 0;
}

UNCHECKED void __wrap___asan_loadN(uintptr_t at, uintptr_t size)
{
	if (!is_open(at, size))
		__real___asan_loadN(at, size);
}

UNCHECKED void __wrap___asan_storeN(uintptr_t at, uintptr_t size)
{
	if (!is_open(at, size))
		__real___asan_storeN(at, size);
}
