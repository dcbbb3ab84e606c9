/* replay.c - runs a fuzzer's entry point over every file of its corpus, as an ordinary test. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (f == NULL)
		return -1;
	fseek(f, 0, SEEK_END);
	long n = ftell(f);
	rewind(f);
	uint8_t *data = malloc(n > 0 ? (size_t)n : 1);
	size_t got = fread(data, 1, n > 0 ? (size_t)n : 0, f);
	fclose(f);
	LLVMFuzzerTestOneInput(data, got);
	free(data);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: replay CORPUS_DIR\n");
		return 2;
	}
	struct dirent **names;
	int n = scandir(argv[1], &names, NULL, alphasort);
	int count = 0, failed = 0;
	for (int i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.') {
			char path[4096];
			snprintf(path, sizeof path, "%s/%s", argv[1], names[i]->d_name);
			bool ok = replay(path) == 0;
			failed += !ok;
			printf("%s %d - %s\n", ok ? "ok" : "not ok", ++count, names[i]->d_name);
			fflush(stdout);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	if (count == 0) {
		printf("not ok 1 - the corpus %s has files\n", argv[1]);
		count = failed = 1;
	}
	printf("1..%d\n", count);
	return failed != 0;
}
