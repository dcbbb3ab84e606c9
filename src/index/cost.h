/* cost.h - what the household's documents cost here so far, and what the same pages would cost in a cloud.
 *
 * Prices are a small table for people to edit: data/prices.conf as it comes with the program, and over it prices.conf in the home, line by
 * line: `NAME = NUMBER ; DATE ; SOURCE`. Watt-hours are measured where the processor's meter can be read (energy.h), else processor time
 * times watts a core; the status says which. Money: electricity here; there, each page that was read once, and the text that is kept, by
 * the month. */
#ifndef HTH_INDEX_COST_H
#define HTH_INDEX_COST_H

#include "index/index.h"

typedef enum hth_price_name {
	HTH_PRICE_KWH,
	HTH_PRICE_WATTS,
	HTH_PRICE_PAGES,
	HTH_PRICE_GB_MONTH,
	HTH_PRICE_GB_FREE,
	HTH_PRICE_COUNT
} hth_price_name;
extern const char *const hth_price_names[HTH_PRICE_COUNT]; /* "kwh", "watts_per_core", "page_1000", "gb_month", "gb_free" */
typedef struct hth_price {
	double value;
	char date[16], source[200];
} hth_price;
typedef struct hth_prices {
	char currency[8];
	hth_price list[HTH_PRICE_COUNT];
} hth_prices;

/* installed: the file that came with the program; NULL: it is looked for beside the program. HTH_NOT_FOUND: a price is in neither file;
 * HTH_BAD_FORMAT: file and line. */
HTH_MUST_USE hth_status hth_prices_load(hth_prices *ret_prices, const char *installed, const char *home, hth_error *err);

typedef struct hth_index_cost {
	double watt_hours, energy; /* energy: its money */
	double cloud_pages, cloud_storage;
	const char *measured_by; /* static: "RAPL", "processor time", "RAPL and processor time" */
} hth_index_cost;
void hth_index_count_cost(const hth_index_status *status, const hth_prices *prices, int64_t now_unix, hth_index_cost *ret_cost);

#endif
