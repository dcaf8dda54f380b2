/*
 * measure FILE COMMAND...: runs it and writes to FILE what it cost: exit code, seconds, CPU seconds, peak memory in KiB.
 *
 * CPU is of the process and of all children that it waited for; memory is the process's own, or that of a child where
 * that is clearly more. This program is small, since the peak that wait4 tells begins with what the parent had. Newer
 * kernels keep that peak as a sum of rough counters, off by up to 100 KB: VmHWM is exact, but gone with the process, which
 * is therefore stopped at its exit for a look. All other stops only hand on its signals.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void check(long result, const char *what)
{
    if (result < 0) {
        perror(what);
        exit(125);
    }
}

static long peak_of(pid_t process)
{
    char path[32], line[128];
    long peak = 0;
    snprintf(path, sizeof path, "/proc/%d/status", process);
    FILE *status = fopen(path, "re");
    while (status && fgets(line, sizeof line, status) && sscanf(line, "VmHWM: %ld", &peak) != 1) {
    }
    if (status)
        fclose(status);
    return peak;
}

int main(int argc, char **argv)
{
    struct timespec began, ended;
    struct rusage cost = {0};
    int status, gate[2];
    long peak = 0;
    char go;
    if (argc < 3)
        return 125;
    FILE *result = fopen(argv[1], "we");
    check(result ? 0 : -1, argv[1]);
    check(pipe2(gate, O_CLOEXEC), "pipe");
    pid_t child = fork();
    check(child, "fork");
    if (child == 0) {
        close(gate[1]);
        if (read(gate[0], &go, 1) == 1)
            execvp(argv[2], argv + 2);
        perror(argv[2]);
        _exit(127);
    }
    check(ptrace(PTRACE_SEIZE, child, 0, PTRACE_O_TRACEEXIT | PTRACE_O_EXITKILL), "ptrace");
    clock_gettime(CLOCK_MONOTONIC, &began);
    check(write(gate[1], "", 1), "write");
    for (;;) {
        check(wait4(child, &status, 0, &cost), "wait4");
        if (!WIFSTOPPED(status))
            break;
        int event = status >> 16, signal = event ? 0 : WSTOPSIG(status);
        if (event == PTRACE_EVENT_EXIT)
            peak = peak_of(child);
        ptrace(PTRACE_CONT, child, 0, (void *)(long)signal);
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    if (peak == 0 || cost.ru_maxrss > peak + 1024)
        peak = cost.ru_maxrss;
    double wall = (double)(ended.tv_sec - began.tv_sec) + (double)(ended.tv_nsec - began.tv_nsec) / 1e9;
    double cpu = (double)(cost.ru_utime.tv_sec + cost.ru_stime.tv_sec) +
                 (double)(cost.ru_utime.tv_usec + cost.ru_stime.tv_usec) / 1e6;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    fprintf(result, "%d %.6f %.6f %ld\n", code, wall, cpu, peak);
    return fclose(result);
}
