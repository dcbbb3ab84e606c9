/* nkey.c - see nkey.h. */
#include "link/nkey.h"

#include <stdint.h>
#include <string.h>

enum { USER_PREFIX = 20 << 3, RAW = 1 + 32 + 2 };

static uint16_t crc16(const unsigned char *bytes, unsigned n)
{
	uint16_t crc = 0;
	while (n-- > 0) {
		crc ^= (uint16_t)(*bytes++ << 8);
		for (int i = 0; i < 8; i++)
			crc = (uint16_t)((crc & 0x8000) != 0 ? (crc << 1) ^ 0x1021 : crc << 1);
	}
	return crc;
}

void hth_nkey_text(const unsigned char key[32], char ret_text[HTH_NKEY_TEXT])
{
	static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
	unsigned char raw[RAW] = {USER_PREFIX};
	memcpy(raw + 1, key, 32);
	uint16_t crc = crc16(raw, 33);
	raw[33] = (unsigned char)crc;
	raw[34] = (unsigned char)(crc >> 8);
	for (unsigned i = 0; i < HTH_NKEY_TEXT - 1; i++) { /* 35 bytes are exactly 56 groups of 5 bits */
		unsigned bit = i * 5, at = bit / 8, pair = (unsigned)raw[at] << 8 | (at + 1 < RAW ? raw[at + 1] : 0u);
		ret_text[i] = alphabet[pair >> (11 - bit % 8) & 31];
	}
	ret_text[HTH_NKEY_TEXT - 1] = '\0';
}
