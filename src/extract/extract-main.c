/* extract-main.c - the main of hearth-extract: prepares its libraries, locks itself in, then reads one file after the other.
 *
 *    hearth-extract VERSION text|ocr MEMORY-BYTES LANGUAGES NICENESS     with the daemon's socket as descriptor 3
 *
 * What libraries need from the disk (conversion tables, fonts' lists, the table of kinds, languages of OCR) is loaded before the sandbox;
 * not a byte of a document is read before it. A file comes as a descriptor beside its JOB frame. Memory that runs out ends the process
 * with HTH_EXTRACT_EXIT_MEMORY, whichever library found out. One thread. Prints nothing.
 */
#include "base/mem.h"
#include "extract/charset.h"
#include "extract/markup.h"
#include "extract/picture.h"
#include "extract/readers.h"
#include "sandbox/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>

/* More than this still allocated after a file: libraries leak, a fresh process is cheaper. */
enum { RETIRE_BYTES = 192 << 20 };

/* ---- before the sandbox ---- */

/* A crash for want of memory is told apart from one of a bug by asking for some. */
static void on_crash(int signum)
{
	/* A plain system call, which glibc only wraps. NOLINTNEXTLINE(bugprone-signal-handler) */
	void *p = mmap(NULL, 64 << 20, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p == MAP_FAILED)
		_exit(HTH_EXTRACT_EXIT_MEMORY);
	signal(signum, SIG_DFL);
	raise(signum);
}

static uint64_t address_space(void)
{
	unsigned long long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	if (f != NULL) {
		if (fscanf(f, "%llu", &pages) != 1)
			pages = 0;
		fclose(f);
	}
	return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void before_sandbox(int niceness)
{
	/* The daemon decides when this ends. A Ctrl-C at the terminal must not cost the file that is being read. */
	static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
	for (size_t i = 0; i < HTH_COUNT(ignored); i++)
		signal(ignored[i], SIG_IGN);
	static const int crashes[] = {SIGABRT, SIGSEGV, SIGBUS};
	for (size_t i = 0; !HTH_SANITIZED && i < HTH_COUNT(crashes); i++)
		signal(crashes[i], on_crash);
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)!write(fd, "500", 3);
		close(fd);
	}
	setpriority(PRIO_PROCESS, 0, niceness);
	setlocale(LC_ALL, "C.UTF-8");
	setenv("TZ", "UTC", 1);
	tzset();
	mallopt(M_ARENA_MAX, 1);
	hth_charset_preload();
	hth_markup_load();
	hth_mail_load();
	hth_sniff_load();
}

/* ---- jobs ---- */

/* Reads bytes, and the descriptor that comes beside a frame's first byte. False: the daemon is gone. */
static bool receive(hth_frame_decoder *decoder, int *fd)
{
	static char bytes[64 << 10];
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = bytes, .iov_len = sizeof bytes};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
	ssize_t n;
	do
		n = recvmsg(HTH_EXTRACT_SOCKET, &msg, 0);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return false;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c != NULL; c = CMSG_NXTHDR(&msg, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int))) {
			if (*fd >= 0)
				close(*fd);
			memcpy(fd, CMSG_DATA(c), sizeof(int));
		}
	hth_error err;
	return hth_frame_decoder_feed(decoder, bytes, (size_t)n, &err) == HTH_OK;
}

static void read_file(hth_tell *tell, int fd, uint32_t job, const hth_extract_order *order)
{
	struct stat st;
	hth_verdict verdict = {.state = HTH_EXTRACT_TEXT};
	hth_tell_begin(tell, job, order);
	(void)hth_tell_part_begin(tell, order->name, &verdict);
	if (fstat(fd, &st) != 0) {
		hth_verdict_unreadable(&verdict, "cannot be read: %s", strerror(errno));
	} else {
		hth_source source = {.fd = fd, .len = (uint64_t)st.st_size, .name = order->name};
		hth_read_source(tell, &source, &verdict);
		tell->took_fd = source.fd < 0;
	}
	if (order->mode == HTH_EXTRACT_MODE_RENDER && !tell->rendered && verdict.state < HTH_EXTRACT_UNREADABLE)
		hth_verdict_unreadable(&verdict, "has no page %u that can be shown", order->page);
	malloc_trim(0);
	struct mallinfo2 use = mallinfo2();
	hth_tell_end(tell, &verdict, use.uordblks + use.hblkhd > RETIRE_BYTES);
	if (!tell->took_fd)
		close(fd);
	if (use.uordblks + use.hblkhd > RETIRE_BYTES)
		_exit(0);
}

static void serve(hth_tell *tell)
{
	hth_frame_decoder decoder;
	hth_framing_decoder_init(&decoder, &hth_extract_frames, HTH_TO_CHILD);
	int fd = -1;
	while (receive(&decoder, &fd)) {
		hth_frame frame;
		bool have = false;
		hth_error err;
		if (hth_frame_decoder_next(&decoder, &frame, &have, &err) != HTH_OK)
			_exit(HTH_EXTRACT_EXIT_PROTOCOL);
		if (!have)
			continue;
		static hth_extract_order order;
		if (fd < 0 || hth_extract_get_order(&frame, &order, &err) != HTH_OK)
			_exit(HTH_EXTRACT_EXIT_PROTOCOL);
		read_file(tell, fd, frame.request, &order);
		fd = -1;
	}
}

int main(int argc, char **argv)
{
	struct stat st;
	if (argc != 6 || atoi(argv[1]) != HTH_EXTRACT_FRAMES_VERSION || fstat(HTH_EXTRACT_SOCKET, &st) != 0 || !S_ISSOCK(st.st_mode)) {
		fprintf(stderr, "hearth-extract reads documents for `hearth serve`, which starts it; it is no command for people\n");
		return 2;
	}
	bool ocr = strcmp(argv[2], "ocr") == 0;
	/* Tesseract's threads cost more than they bring; OpenMP reads this before main. */
	if (getenv("OMP_THREAD_LIMIT") == NULL && setenv("OMP_THREAD_LIMIT", "1", 1) == 0)
		execv(argv[0], argv); /* not /proc/self/exe: it would be called "exe" in lists of processes */
	/* One that is stopped, since somebody waits for an answer, would not see that its daemon has died, and stay. */
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	uint64_t memory = strtoull(argv[3], NULL, 10);
	static hth_tell tell;
	hth_tell_init(&tell, HTH_EXTRACT_SOCKET);
	hth_error err = HTH_ERROR_INIT;
	before_sandbox(atoi(argv[5]));
	hth_picture_warm();
	if (ocr && !hth_picture_load_ocr(argv[4], &err)) {
		(void)!hth_extract_put_broken(&tell.out, err.message);
		hth_tell_flush(&tell);
		_exit(1);
	}
	int keep[] = {HTH_EXTRACT_SOCKET};
	static const char *const fonts[] = {"/usr/share/fonts", "/usr/local/share/fonts", "/usr/share/poppler"};
	hth_sandbox_options options = {.memory_bytes = address_space() + memory, .keep_fds = keep, .n_keep_fds = 1,
	                               .receive_fd = HTH_EXTRACT_SOCKET, .read_dirs = fonts, .n_read_dirs = HTH_COUNT(fonts)};
	hth_sandbox_report report;
	if (hth_sandbox_enter(&options, &report, &err) != HTH_OK) {
		(void)!hth_extract_put_broken(&tell.out, err.message);
		hth_tell_flush(&tell);
		_exit(1);
	}
	(void)!hth_extract_put_ready(&tell.out, (unsigned)report.landlock_abi);
	hth_tell_flush(&tell);
	serve(&tell);
	_exit(0); /* what runs at a normal exit may ask for more than the sandbox gives */
}
