# fish completion for volbridge. The program itself knows its commands, and the
# domains, pools and volumes of this host.

function __volbridge_complete
    set -l words (commandline -opc)
    for candidate in (command volbridge complete -- $words[2..-1] (commandline -ct) 2>/dev/null)
        if test $candidate = :files
            __fish_complete_path (commandline -ct)
        else
            echo $candidate
        end
    end
end

complete -c volbridge -f -a '(__volbridge_complete)'
