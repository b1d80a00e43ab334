# Completion of brig for fish: `brig completion fish | source`, or as a file `brig.fish` in
# ~/.config/fish/completions.

function __brig_complete
    set -l words (commandline -opc)
    set -l typed (commandline -ct)
    set -l answer (brig __complete $words[2..-1] "$typed" 2>/dev/null)
    set -l told (string split ' ' -- (string sub -s 2 -- $answer[1]))
    for line in $answer[2..-1]
        echo -- $line
    end

    set -l before (string match -r -- '^-[^=]*=' "$typed")
    set -l value (string replace -r -- '^-[^=]*=' '' "$typed")
    if contains -- files $told
        for path in (__fish_complete_path "$value")
            echo -- $before$path
        end
    else if contains -- directories $told
        for path in (__fish_complete_directories "$value")
            echo -- $before$path
        end
    end
end

complete -c brig -e
complete -c brig -f -a '(__brig_complete)'
