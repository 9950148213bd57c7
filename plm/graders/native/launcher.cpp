// Starts a command in namespaces of its own (user, pid, mount, network, ipc, uts) where bubblewrap is not installed.
//
// Usage: launcher [--ro-bind SOURCE PATH | --bind SOURCE PATH | --dev-bind SOURCE PATH | --symlink TARGET PATH | --tmpfs PATH]... --chdir PATH --
// COMMAND... The command sees these mounts and nothing else, has no capability and is process 1: all that it starts dies
// with it, and it dies with this launcher, which dies with its parent.
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

const std::string kRoot = "/tmp";  // where the new root is built, in the new mount namespace only

void check(bool good, const char* what) {
    if (good) return;
    std::fprintf(stderr, "launcher: %s: %s\n", what, std::strerror(errno));
    _exit(125);
}

void write_file(const char* path, const std::string& text) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    check(file >= 0 && write(file, text.data(), text.size()) == ssize_t(text.size()), path);
    close(file);
}

void make_parents(const std::string& path) {
    for (size_t i = kRoot.size() + 1; (i = path.find('/', i)) != std::string::npos; i++) mkdir(path.substr(0, i).c_str(), 0755);
}

void set_attributes(const char* path, unsigned long long attributes, bool recursive) {
    mount_attr change{};
    change.attr_set = attributes;
    check(syscall(SYS_mount_setattr, AT_FDCWD, path, recursive ? AT_RECURSIVE : 0, &change, sizeof change) == 0, path);
}

// `source` is a descriptor opened before the new root covered anything
void bind(int source, const std::string& path, bool writable) {
    struct stat info;
    check(fstat(source, &info) == 0, path.c_str());
    if (S_ISDIR(info.st_mode)) {
        mkdir(path.c_str(), 0755);
    } else {
        close(open(path.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    }
    std::string from = "/proc/self/fd/" + std::to_string(source);
    check(mount(from.c_str(), path.c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0, path.c_str());
    set_attributes(path.c_str(), MOUNT_ATTR_NOSUID | (writable ? 0 : MOUNT_ATTR_RDONLY), true);
    close(source);
}

void enter_namespaces() {
    std::string user = std::to_string(geteuid()), group = std::to_string(getegid());
    check(unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0, "unshare");
    write_file("/proc/self/setgroups", "deny");
    write_file("/proc/self/uid_map", "65534 " + user + " 1");
    write_file("/proc/self/gid_map", "65534 " + group + " 1");
    check(sethostname("sandbox", 7) == 0, "sethostname");
    check(mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) == 0, "mount /");
}

// one pass opens the sources, the next mounts them; returns where the command starts
int walk(int count, char** words, int* sources, bool mounting, std::string& start) {
    int i = 1;
    for (; i < count && std::strcmp(words[i], "--") != 0; i++) {
        std::string option = words[i];
        if (option == "--chdir" && i + 1 < count) {
            start = words[++i];
        } else if (option == "--tmpfs" && i + 1 < count) {
            std::string path = kRoot + words[++i];
            if (!mounting) continue;
            make_parents(path + "/");
            check(mount("tmpfs", path.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=256m,mode=700") == 0, path.c_str());
        } else if (i + 2 < count) {
            const char* first = words[++i];
            std::string path = kRoot + words[++i];
            bool link = option == "--symlink";
            check(link || option == "--bind" || option == "--dev-bind" || option == "--ro-bind", words[i - 2]);
            if (!mounting && !link) check((sources[i] = open(first, O_PATH | O_CLOEXEC)) >= 0, first);
            if (mounting) make_parents(path);
            if (mounting && link) check(symlink(first, path.c_str()) == 0, path.c_str());
            if (mounting && !link) bind(sources[i], path, option != "--ro-bind");
        }
    }
    return i + 1;
}

void change_root(const std::string& start) {
    check(chdir(kRoot.c_str()) == 0 && syscall(SYS_pivot_root, ".", ".") == 0, "pivot_root");
    check(umount2(".", MNT_DETACH) == 0, "umount");
    set_attributes("/", MOUNT_ATTR_RDONLY, false);
    check(chdir(start.c_str()) == 0, "chdir");
}

[[noreturn]] void wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0) check(errno == EINTR, "waitpid");
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

}  // namespace

int main(int count, char** words) {
    check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    setsid();
    enter_namespaces();
    int* sources = new int[size_t(count)]();
    std::string start = "/";
    walk(count, words, sources, false, start);
    check(mount("tmpfs", kRoot.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=755") == 0, "mount");
    int command = walk(count, words, sources, true, start);
    check(command < count, "no command");
    pid_t child = fork();
    check(child >= 0, "fork");
    if (child > 0) wait_for(child);
    check(prctl(PR_SET_PDEATHSIG, SIGKILL) == 0, "prctl");
    change_root(start);
    check(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0, "no_new_privs");
    char* environment[] = {const_cast<char*>("PATH=/usr/bin:/bin"), const_cast<char*>("LC_ALL=C"), nullptr};
    execve(words[command], words + command, environment);
    check(false, words[command]);
}
