/* words-merge.c - segments that are due become one. Thread: the index's writing one; searches go on in the old ones
 * meanwhile.
 *
 * Tiers: a segment's level is how often 8 goes into its texts (beyond 4096). Where 8 neighbours are of one level or
 * lower they are merged, so a text is copied once a level and there are at most 8 segments a level. Neighbours only:
 * ids then rise within every segment and from one to the next. A segment most of whose texts are removed, or any when
 * everything must go (purge), is written anew without them.
 */
#include "base/mem.h"
#include "index/words-internal.h"

enum { FAN_IN = 8, LEVEL_TEXTS = 4096, KEEP_GOING_EVERY = 256 };

typedef struct input {
	segment *s;
	const gone *gone;
	uint32_t *new_numbers; /* UINT32_MAX: removed */
	uint32_t at;           /* term */
} input;

typedef struct merge {
	input *inputs;
	size_t n;
	uint64_t *ids;
	uint16_t *lengths;
	uint32_t n_texts, languages;
	uint64_t terms_total;
	uint32_t *docs, *tfs;
	segment_writer *writer;
	bool (*keep_going)(void *ctx);
	void *ctx;
} merge;

static unsigned level_of(const part *p)
{
	unsigned level = 0;
	for (uint64_t n = p->s->header->n_texts; n > LEVEL_TEXTS; n /= FAN_IN)
		level++;
	return level;
}

/* The run of parts that is due: the lowest level first. */
static bool choose(const view *v, bool purge, size_t *ret_first, size_t *ret_n)
{
	for (unsigned level = 0; level < 12; level++) {
		for (size_t i = 0; i < v->n;) {
			size_t n = 0;
			while (i + n < v->n && level_of(&v->parts[i + n]) <= level)
				n++;
			if (n >= FAN_IN) {
				*ret_first = i;
				*ret_n = n;
				return true;
			}
			i += n + 1;
		}
	}
	for (size_t i = 0; i < v->n; i++) {
		const gone *g = v->parts[i].gone;
		if (g == NULL || g->count == 0 || (!purge && g->count * 2ull < g->n_bits))
			continue;
		*ret_first = i;
		*ret_n = 1;
		return true;
	}
	return false;
}

static hth_status number_texts(merge *m, hth_error *err)
{
	uint64_t total = 0;
	for (size_t i = 0; i < m->n; i++)
		total += m->inputs[i].s->header->n_texts;
	if (total > UINT32_MAX / 2)
		return hth_fail(err, HTH_TOO_LARGE, "a segment of the word index would have too many texts");
	m->ids = hth_alloc_array(total, sizeof *m->ids);
	m->lengths = hth_alloc_array(total, sizeof *m->lengths);
	m->docs = hth_alloc_array(total, sizeof *m->docs);
	m->tfs = hth_alloc_array(total, sizeof *m->tfs);
	if (m->ids == NULL || m->lengths == NULL || m->docs == NULL || m->tfs == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to merge the word index");
	for (size_t i = 0; i < m->n; i++) {
		input *in = &m->inputs[i];
		const segment_header *h = in->s->header;
		if ((in->new_numbers = hth_alloc_array(h->n_texts, sizeof *in->new_numbers)) == NULL)
			return hth_fail(err, HTH_NO_MEMORY, "no memory to merge the word index");
		m->languages |= h->languages;
		for (uint32_t k = 0; k < h->n_texts; k++) {
			bool removed = is_gone(in->gone, k);
			in->new_numbers[k] = removed ? UINT32_MAX : m->n_texts;
			if (removed)
				continue;
			m->ids[m->n_texts] = h->first_id + in->s->ids[k];
			m->lengths[m->n_texts++] = in->s->lengths[k];
		}
	}
	return HTH_OK;
}

static int compare(const char *a, size_t a_len, const char *b, size_t b_len)
{
	int order = memcmp(a, b, HTH_MIN(a_len, b_len));
	return order != 0 ? order : (int)a_len - (int)b_len;
}

/* The least term that any input is at; false when all are at their end. */
static bool least(merge *m, const char **ret_text, size_t *ret_len)
{
	const char *text = NULL;
	size_t len = 0;
	for (size_t i = 0; i < m->n; i++) {
		const input *in = &m->inputs[i];
		if (in->at >= in->s->header->n_terms)
			continue;
		const segment_term *t = &in->s->terms[in->at];
		const char *s = segment_string(in->s, t);
		if (s != NULL && (text == NULL || compare(s, t->len, text, len) < 0)) {
			text = s;
			len = t->len;
		}
	}
	*ret_text = text;
	*ret_len = len;
	return text != NULL;
}

static hth_status merge_term(merge *m, const char *text, size_t len, hth_error *err)
{
	cursor c;
	uint32_t df = 0;
	for (size_t i = 0; i < m->n; i++) {
		input *in = &m->inputs[i];
		if (in->at >= in->s->header->n_terms)
			continue;
		const segment_term *t = &in->s->terms[in->at];
		const char *s = segment_string(in->s, t);
		if (s == NULL || compare(s, t->len, text, len) != 0)
			continue;
		in->at++;
		cursor_open(&c, in->s, t);
		for (uint32_t b = 0; b < c.n_blocks && cursor_decode(&c, b); b++) {
			const uint32_t *tfs = cursor_tfs(&c);
			for (uint32_t k = 0; k < c.n; k++) {
				uint32_t number = in->new_numbers[c.docs[k]];
				if (number == UINT32_MAX)
					continue;
				m->docs[df] = number;
				m->tfs[df++] = tfs[k] + 1;
			}
		}
	}
	return df > 0 ? segment_writer_term(m->writer, text, len, m->docs, m->tfs, df, err) : HTH_OK;
}

static hth_status write_merged(merge *m, const disk *d, const char *path, hth_error *err)
{
	uint64_t lengths = 0;
	for (uint32_t i = 0; i < m->n_texts; i++)
		lengths += m->lengths[i];
	HTH_TRY(segment_writer_open(&m->writer, d, path, m->ids, m->lengths, m->n_texts, lengths, m->languages, err));
	const char *text;
	size_t len;
	for (unsigned n = 1; least(m, &text, &len); n++) {
		if (n % KEEP_GOING_EVERY == 0 && m->keep_going != NULL && !m->keep_going(m->ctx))
			return hth_fail(err, HTH_CANCELLED, "the merge was put off");
		HTH_TRY(merge_term(m, text, len, err));
	}
	for (size_t i = 0; i < m->n; i++)
		if (atomic_load(&m->inputs[i].s->damaged) || m->inputs[i].at < m->inputs[i].s->header->n_terms)
			return hth_fail(err, HTH_BAD_FORMAT, "segment %u of the word index is damaged", m->inputs[i].s->number);
	return segment_writer_finish(m->writer, err);
}

static void merge_finish(merge *m)
{
	for (size_t i = 0; i < m->n && m->inputs != NULL; i++)
		free(m->inputs[i].new_numbers);
	segment_writer_close(m->writer);
	free(m->inputs);
	free(m->ids);
	free(m->lengths);
	free(m->docs);
	free(m->tfs);
}

static void keep_part(view *next, const part *p)
{
	atomic_fetch_add(&p->s->refs, 1);
	if (p->gone != NULL)
		atomic_fetch_add(&p->gone->refs, 1);
	next->parts[next->n++] = *p;
}

hth_status hth_words_merge(hth_words *words, bool purge, bool (*keep_going)(void *ctx), void *ctx, bool *ret_did, hth_error *err)
{
	const view *now = words->view;
	size_t first = 0, n = 0;
	*ret_did = false;
	if (!words->write || !choose(now, purge, &first, &n))
		return HTH_OK;
	HTH_CLEANUP(view_release_p) view *next = view_create(now->n);
	HTH_CLEANUP(merge_finish) merge m = {.n = n, .keep_going = keep_going, .ctx = ctx};
	m.inputs = hth_alloc_array(n, sizeof *m.inputs);
	if (next == NULL || m.inputs == NULL)
		return hth_fail(err, HTH_NO_MEMORY, "no memory to merge the word index");
	for (size_t i = 0; i < n; i++)
		m.inputs[i] = (input){.s = now->parts[first + i].s, .gone = now->parts[first + i].gone};
	HTH_TRY(number_texts(&m, err));
	next->n = 0;
	for (size_t i = 0; i < first; i++)
		keep_part(next, &now->parts[i]);
	if (m.n_texts > 0) {
		char path[4200];
		uint32_t number = words->number++;
		segment_path(words, number, path);
		HTH_TRY(write_merged(&m, &words->disk, path, err));
		HTH_TRY(segment_open(&next->parts[next->n].s, path, number, err));
		next->n++;
	}
	for (size_t i = first + n; i < now->n; i++)
		keep_part(next, &now->parts[i]);
	next->languages = now->languages;
	next->mark = now->mark;
	next->last_id = now->last_id;
	HTH_TRY(view_publish(words, next, err));
	next = NULL;
	*ret_did = true;
	return HTH_OK;
}
