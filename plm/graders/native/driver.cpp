// Runs programs one test at a time, each in a fresh, locked-down process, and reports how each ended.
//
// Usage: driver CPU_MS WALL_MS MEMORY_BYTES OUTPUT_BYTES STACK_BYTES PROGRAM INPUT
// Requests on descriptor 0, answers on descriptor 1, in lockstep; programs get neither. A program is a function that is
// linked into this binary (index >= 0) or the executable PROGRAM (index -1, else empty). INPUT is a path that each test's
// input is written to, or empty: then it lives in memory only. One byte says that the driver is ready; without it, the exit
// status tells what this machine does not allow: 3 the stack, 4 to execute PROGRAM.
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// defined by a batch of programs; absent where the driver runs executables
extern "C" __attribute__((weak)) int (*const plm_programs[])();
extern "C" __attribute__((weak)) const int plm_program_count;

namespace {

struct Request {
    int32_t index;
    uint32_t input_bytes;
};

struct Answer {
    int32_t status;  // as wait4 gives it
    uint32_t timed_out;
    uint64_t cpu_us;
    uint32_t output_bytes;  // beyond the limit where there was too much
    uint32_t failed;  // the driver could not set the program up: no verdict
};

struct Limits {
    long cpu_ms, wall_ms;
    rlim_t memory, output, stack;
    const char* program;
    const char* input;
};

constexpr int kAlarm = 3;  // a program's descriptor on which it tells that its set-up failed; closed before it starts
char buffer[1 << 16];
int null_device = -1;

#if defined(__x86_64__)
constexpr uint32_t kArch = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr uint32_t kArch = AUDIT_ARCH_AARCH64;
#else
#error "no system call filter for this processor"
#endif

const int kAllowed[] = {
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_lseek, SYS_close, SYS_fstat, SYS_mmap, SYS_munmap,
    SYS_mprotect, SYS_mremap, SYS_madvise, SYS_brk, SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn,
    SYS_sigaltstack, SYS_exit, SYS_exit_group, SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid,
    SYS_getegid, SYS_clock_gettime, SYS_clock_getres, SYS_gettimeofday, SYS_times, SYS_getrusage, SYS_nanosleep,
    SYS_clock_nanosleep, SYS_futex, SYS_set_tid_address, SYS_set_robust_list, SYS_getrandom, SYS_dup, SYS_dup3,
    SYS_faccessat, SYS_readlinkat, SYS_getcwd, SYS_uname, SYS_sched_yield, SYS_sched_getaffinity, SYS_ppoll,
    SYS_restart_syscall, SYS_getdents64, SYS_statx, SYS_newfstatat, SYS_fadvise64, SYS_rseq,
#if defined(__x86_64__)
    SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_dup2, SYS_poll, SYS_select, SYS_time, SYS_arch_prctl,
    SYS_getrlimit, SYS_pause,
#endif
};

// an attempt to write, make, rename or remove a file: the process is killed by SIGSYS, which is the verdict `file`
const int kFile[] = {
    SYS_mkdirat, SYS_mknodat, SYS_renameat2, SYS_linkat, SYS_symlinkat, SYS_unlinkat, SYS_truncate, SYS_fchmodat,
    SYS_fchownat, SYS_openat2,
#if defined(__x86_64__)
    SYS_creat, SYS_mkdir, SYS_mknod, SYS_rename, SYS_renameat, SYS_link, SYS_symlink, SYS_unlink, SYS_rmdir, SYS_chmod,
    SYS_chown, SYS_lchown,
#endif
};

constexpr int kWriting = O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND;
sock_filter filter[512];
unsigned short filter_length;

void emit(uint16_t code, uint32_t k, uint8_t yes = 0, uint8_t no = 0) {
    filter[filter_length++] = {code, yes, no, k};
}

void emit_load(size_t offset) { emit(BPF_LD | BPF_W | BPF_ABS, uint32_t(offset)); }
void emit_return(uint32_t action) { emit(BPF_RET | BPF_K, action); }
size_t argument(int i) { return offsetof(seccomp_data, args) + 8 * size_t(i); }

// if the call is `number`, return `action`
void emit_rule(int number, uint32_t action) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(number), 0, 1);
    emit_return(action);
}

// if the call is `number`, return `hit` where its argument's low half ANDed with `mask` equals `value`, else `miss`
void emit_masked(int number, int which, uint32_t mask, uint32_t value, uint32_t hit, uint32_t miss) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(number), 0, 5);
    emit_load(argument(which));
    emit(BPF_ALU | BPF_AND | BPF_K, mask);
    emit(BPF_JMP | BPF_JEQ | BPF_K, value, 0, 1);
    emit_return(hit);
    emit_return(miss);
}

// if the call is `number`, allow it where the whole argument is `value`
void emit_exact(int number, int which, uint64_t value) {
    emit(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(number), 0, 6);
    emit_load(argument(which));
    emit(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(value), 0, 3);
    emit_load(argument(which) + 4);
    emit(BPF_JMP | BPF_JEQ | BPF_K, uint32_t(value >> 32), 0, 1);
    emit_return(SECCOMP_RET_ALLOW);
    emit_return(SECCOMP_RET_ERRNO | EPERM);
}

void build_filter(const char* path) {
    const uint32_t allow = SECCOMP_RET_ALLOW, deny = SECCOMP_RET_ERRNO | EPERM, kill = SECCOMP_RET_KILL_PROCESS;
    filter_length = 0;
    emit_load(offsetof(seccomp_data, arch));
    emit(BPF_JMP | BPF_JEQ | BPF_K, kArch, 1, 0);
    emit_return(kill);
    emit_load(offsetof(seccomp_data, nr));
    for (int number : kAllowed) emit_rule(number, allow);
    for (int number : kFile) emit_rule(number, kill);
    emit_masked(SYS_openat, 2, kWriting, 0, allow, kill);
#if defined(__x86_64__)
    emit_masked(SYS_open, 1, kWriting, 0, allow, kill);
#endif
    emit_masked(SYS_kill, 0, ~0u, uint32_t(getpid()), allow, deny);
    emit_masked(SYS_tkill, 0, ~0u, uint32_t(getpid()), allow, deny);
    emit_masked(SYS_tgkill, 0, ~0u, uint32_t(getpid()), allow, deny);
    emit_masked(SYS_ioctl, 1, ~0u, 0x5401 /* TCGETS: isatty */, allow, SECCOMP_RET_ERRNO | ENOTTY);
    emit_masked(SYS_fcntl, 1, ~3u, 0 /* DUPFD, GETFD, SETFD, GETFL: no more than dup and fstat */, allow, deny);
    emit_exact(SYS_prlimit64, 2, 0);  // limits can be read only
    if (path) emit_exact(SYS_execve, 0, uint64_t(path));  // an address that a program cannot know
    emit_return(deny);
}

bool lock_down(const char* path) {
    build_filter(path);
    sock_fprog program = {filter_length, filter};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

bool limit(decltype(RLIMIT_AS) what, rlim_t value) {
    rlimit both = {value, value};
    return setrlimit(what, &both) == 0;
}

bool limit_resources(const Limits& limits) {
    return limit(RLIMIT_AS, limits.memory) && limit(RLIMIT_CPU, rlim_t(limits.cpu_ms / 1000 + 2)) &&
           limit(RLIMIT_FSIZE, limits.output) && limit(RLIMIT_CORE, 0) && limit(RLIMIT_NOFILE, 32) &&
           limit(RLIMIT_NPROC, 0) && limit(RLIMIT_MEMLOCK, 0) && limit(RLIMIT_SIGPENDING, 64);
}

// the path of the one executable, at an address that a program cannot guess
char* make_secret_path(const char* program) {
    uint64_t random = 0;
    if (std::strlen(program) > 2047 || getentropy(&random, sizeof random) != 0) return nullptr;
    void* hint = reinterpret_cast<void*>((random & 0x3fffffff000ull) + 0x100000000ull);
    void* page = mmap(hint, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (page == MAP_FAILED) return nullptr;
    char* path = static_cast<char*>(page) + (random >> 53);
    return std::strcpy(path, program);
}

[[noreturn]] void execute(const char* path) {
    char name[] = "program";
    char* arguments[] = {name, nullptr};
    char* environment[] = {nullptr};
    execve(path, arguments, environment);
    _exit(127);  // the program's own fault: it was executable when the driver started
}

// what a program finds in variables that it does not set does not depend on what ran before it; see prelude.cpp
__attribute__((noinline)) void scrub_stack() {
    char area[1 << 18];
    std::memset(area, 0, sizeof area);
    asm volatile("" : : "r"(area) : "memory");
}

[[noreturn]] void run_program(int index, int input, int output, int alarm, const Limits& limits) {
    char* path = index < 0 ? make_secret_path(limits.program) : nullptr;
    bool ready = prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && dup2(input, 0) == 0 && dup2(output, 1) == 1 &&
                 dup2(null_device, 2) == 2 && dup3(alarm, kAlarm, O_CLOEXEC) == kAlarm &&
                 syscall(SYS_close_range, kAlarm + 1, ~0u, 0) == 0 && limit_resources(limits) && (index >= 0 || path) &&
                 (index < 0 || index < plm_program_count) && lock_down(path);
    if (!ready) _exit(int(write(kAlarm, "x", 1)));
    if (index < 0) execute(path);
    close(kAlarm);
    scrub_stack();
    std::exit(plm_programs[index]());
}

long now_us(clockid_t clock) {
    timespec time{};
    if (clock_gettime(clock, &time) != 0) return 0;
    return time.tv_sec * 1000000L + time.tv_nsec / 1000;
}

// waits for the process to end, or kills it at its limit; true if it was killed
bool supervise(pid_t child, const Limits& limits) {
    int handle = int(syscall(SYS_pidfd_open, child, 0));
    clockid_t clock;
    bool known = clock_getcpuclockid(child, &clock) == 0, killed = false;
    long end = now_us(CLOCK_MONOTONIC) + limits.wall_ms * 1000;
    while (!killed) {
        long left = end - now_us(CLOCK_MONOTONIC);
        long cpu_left = known ? limits.cpu_ms * 1000 - now_us(clock) : left;
        killed = left <= 0 || cpu_left <= 0 || handle < 0;
        pollfd wait = {handle, POLLIN, 0};
        if (!killed && poll(&wait, 1, int((left < cpu_left ? left : cpu_left) / 1000 + 1)) > 0) break;
    }
    if (killed) kill(child, SIGKILL);
    close(handle);
    return killed;
}

bool transfer_all(int from, int to, uint64_t bytes) {
    while (bytes > 0) {
        ssize_t got = read(from, buffer, bytes < sizeof buffer ? bytes : sizeof buffer);
        if (got <= 0) return false;
        for (ssize_t done = 0; done < got;) {
            ssize_t put = write(to, buffer + done, size_t(got - done));
            if (put <= 0) return false;
            done += put;
        }
        bytes -= uint64_t(got);
    }
    return true;
}

bool transfer(int from, int to, uint64_t bytes) {
    bool done = transfer_all(from, to, bytes);
    std::memset(buffer, 0, sizeof buffer);  // a program finds no other test's text in its memory
    return done;
}

Answer run(int index, int input, int output, const Limits& limits) {
    Answer answer{};
    answer.failed = 1;
    int alarm[2];
    if (pipe2(alarm, O_CLOEXEC) != 0) return answer;
    pid_t child = fork();
    if (child == 0) run_program(index, input, output, alarm[1], limits);
    close(alarm[1]);
    rusage usage{};
    if (child > 0) answer.timed_out = supervise(child, limits);
    bool ended = child > 0 && wait4(child, &answer.status, 0, &usage) == child;
    char byte;
    answer.failed = !ended || read(alarm[0], &byte, 1) != 0;
    close(alarm[0]);
    answer.cpu_us = uint64_t(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                    uint64_t(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    off_t size = lseek(output, 0, SEEK_END);
    answer.output_bytes = size < 0 ? 0 : uint32_t(size);
    return answer;
}

// a named input lets programs open /dev/stdin, which is a link to it, where there is no /proc
int make_input(int requests, uint64_t bytes, const char* path) {
    bool named = *path != 0;
    if (named) unlink(path);
    int file = named ? open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400) : memfd_create("input", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (file < 0 || !transfer(requests, file, bytes)) return -1;
    if (!named) {
        fcntl(file, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL);
        lseek(file, 0, SEEK_SET);
        return file;
    }
    close(file);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool serve(int requests, int answers, const Limits& limits) {
    Request request{};
    if (read(requests, &request, sizeof request) != sizeof request) return false;
    int input = make_input(requests, request.input_bytes, limits.input), output = memfd_create("output", MFD_CLOEXEC);
    if (input < 0 || output < 0) return false;
    Answer answer = run(request.index, input, output, limits);
    lseek(output, 0, SEEK_SET);
    bool sent = write(answers, &answer, sizeof answer) == sizeof answer && transfer(output, answers, answer.output_bytes);
    close(input);
    close(output);
    return sent;
}

}  // namespace

int main(int count, char** values) {
    if (count != 8) return 2;
    Limits limits = {std::atol(values[1]), std::atol(values[2]), rlim_t(std::atoll(values[3])),
                     rlim_t(std::atoll(values[4])), rlim_t(std::atoll(values[5])), values[6], values[7]};
    null_device = open("/dev/null", O_RDWR | O_CLOEXEC);
    int requests = fcntl(0, F_DUPFD_CLOEXEC, 100), answers = fcntl(1, F_DUPFD_CLOEXEC, 100);
    if (null_device < 0 || requests < 0 || answers < 0) return 2;
    if (!limit(RLIMIT_STACK, limits.stack)) return 3;
    if (*limits.program && access(limits.program, X_OK) != 0) return 4;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    signal(SIGPIPE, SIG_IGN);
    if (write(answers, "r", 1) != 1) return 2;
    while (serve(requests, answers, limits)) {
    }
    return 0;
}
