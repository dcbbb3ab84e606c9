/* float-rows.h - rows of floats by a few tokens, cut into tiles, and what the table has of a float type: the same for either width of
 * vectors.
 * Included by avx2-rows.c and avx512-rows.c, which define
 *   TILE_ROWS  the rows of a tile
 *   few_tile   rows (TILE_ROWS or 1) by tokens (1, 2 or 4), whole columns
 *   unpack_float, gemv_float, and load_TYPE for each type
 *
 * What is widened serves all tokens of a tile, what is loaded of a token all rows; four tokens' activations stay near for rows of usual
 * length.
 */
INLINE void few_float(const char *w, size_t row_bytes, size_t n_rows, size_t cols, const float *const *x, size_t n_tokens, float *y,
                      size_t y_stride, size_t size, load_fn load)
{
#define TILE(R, T) few_tile(w + r * row_bytes, row_bytes, cols, x + t, y + t * y_stride + r, y_stride, size, load, R, T)
#define TOKENS(R)                                     \
	do {                                          \
		size_t t = 0;                         \
		for (; t + 4 <= n_tokens; t += 4)     \
			TILE(R, 4);                   \
		if ((n_tokens & 2) != 0) {            \
			TILE(R, 2);                   \
			t += 2;                       \
		}                                     \
		if ((n_tokens & 1) != 0)              \
			TILE(R, 1);                   \
	} while (0)
	size_t r = 0;
	for (; r + TILE_ROWS <= n_rows; r += TILE_ROWS)
		TOKENS(TILE_ROWS);
	for (; r < n_rows; r++)
		TOKENS(1);
#undef TOKENS
#undef TILE
}

#define FLOAT_TYPE(row, name, size)                                                                                            \
	void hth_##row##_unpack_##name(float *panel, const void *w, size_t row_bytes, size_t n_rows, size_t n)                 \
	{                                                                                                                      \
		unpack_float(panel, w, row_bytes, n_rows, n, size, load_##name);                                               \
	}                                                                                                                      \
	void hth_##row##_gemv_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *x, float *y)    \
	{                                                                                                                      \
		if (hth_near())                                                                                                \
			gemv_float(w, row_bytes, n_rows, cols, x, y, size, load_##name, true);                                 \
		else                                                                                                           \
			gemv_float(w, row_bytes, n_rows, cols, x, y, size, load_##name, false);                                \
	}                                                                                                                      \
	void hth_##row##_few_##name(const void *w, size_t row_bytes, size_t n_rows, size_t cols, const float *const *x,        \
	                            size_t n_tokens, float *y, size_t y_stride)                                                \
	{                                                                                                                      \
		few_float(w, row_bytes, n_rows, cols, x, n_tokens, y, y_stride, size, load_##name);                            \
	}
