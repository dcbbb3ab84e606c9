/* energy.c - see energy.h. Any thread, each meter one. */
#include "base/energy.h"

#include "base/mem.h"

#include <fcntl.h>
#include <stdio.h>

static bool read_text(const char *path, char *text, size_t cap)
{
	HTH_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, cap - 1) : -1;
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

static bool read_number(const char *folder, unsigned package, const char *name, uint64_t *ret)
{
	char path[300], text[64], *end;
	snprintf(path, sizeof path, "%s/intel-rapl:%u/%s", folder, package, name);
	if (!read_text(path, text, sizeof text))
		return false;
	*ret = strtoull(text, &end, 10);
	return end != text;
}

double hth_energy_busy_seconds(const char *proc_stat)
{
	/* cpu user nice system idle iowait irq softirq steal (proc(5)), in clock ticks */
	unsigned long long v[8] = {0};
	long tick = sysconf(_SC_CLK_TCK);
	if (sscanf(proc_stat, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]) < 4 ||
	    tick <= 0)
		return 0;
	return (double)(v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / (double)tick;
}

double hth_energy_busy_now(void)
{
	char text[400];
	return read_text("/proc/stat", text, sizeof text) ? hth_energy_busy_seconds(text) : 0;
}

void hth_energy_open(hth_energy_meter *m, const char *folder, uint64_t now_ms, double cpu_seconds, double busy_seconds)
{
	*m = (hth_energy_meter){.last_ms = now_ms, .last_cpu = cpu_seconds, .last_busy = busy_seconds};
	snprintf(m->folder, sizeof m->folder, "%s", folder != NULL ? folder : "/sys/class/powercap");
	while (m->n < HTH_ENERGY_PACKAGES_MAX && read_number(m->folder, m->n, "energy_uj", &m->last_uj[m->n])) {
		if (!read_number(m->folder, m->n, "max_energy_range_uj", &m->range_uj[m->n]))
			m->range_uj[m->n] = 0;
		m->n++;
	}
}

bool hth_energy_look(hth_energy_meter *m, uint64_t now_ms, double cpu_seconds, double busy_seconds, double *ret_joules)
{
	double all = 0, wall = (double)(now_ms - m->last_ms) / 1000, cpu = cpu_seconds - m->last_cpu, busy = busy_seconds - m->last_busy;
	if (m->n == 0)
		return false;
	for (unsigned i = 0; i < m->n; i++) {
		uint64_t now = m->last_uj[i];
		if (!read_number(m->folder, i, "energy_uj", &now))
			return false;
		uint64_t used = now >= m->last_uj[i]             ? now - m->last_uj[i]
		                : m->range_uj[i] > m->last_uj[i] ? m->range_uj[i] - m->last_uj[i] + now
		                                                 : now;
		m->last_uj[i] = now;
		all += (double)used / 1e6;
	}
	m->last_ms = now_ms;
	m->last_cpu = cpu_seconds;
	m->last_busy = busy_seconds;
	double at_work = wall > 0 ? HTH_MIN(cpu / wall, 1.0) : 0, part = busy > 0 ? HTH_MIN(cpu / busy, 1.0) : 1;
	*ret_joules = cpu > 0 ? all * at_work * part : 0;
	return true;
}
