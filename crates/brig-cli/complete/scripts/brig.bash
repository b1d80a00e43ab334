# Completion of brig for bash 4.4 or newer: `source <(brig completion bash)`, or as a file `brig` in
# /usr/share/bash-completion/completions.

_brig() {
    local line=${COMP_LINE:0:COMP_POINT} words=() word rest i

    # bash takes `=` and `:` for ends of words; what adjoins in the line is one word here.
    for ((i = 0; i <= COMP_CWORD; i++)); do
        rest=${line#"${line%%[![:space:]]*}"}
        word=${COMP_WORDS[i]}
        ((i == COMP_CWORD)) && word=$rest
        if ((i > 0)) && [[ $rest == "$line" ]]; then
            words[-1]+=$word
        else
            words+=("$word")
        fi
        line=${rest#"$word"}
    done

    # An open quote is bash's own.
    words[-1]=${words[-1]#[\"\']}
    local typed=${words[-1]} program
    program=$(type -P -- "$1") || program=brig
    local answer=()
    mapfile -t answer < <("$program" __complete "${words[@]:1}" 2>/dev/null)

    # Only what follows the last end of a word is replaced.
    local kept= ends='=:'
    for ((i = ${#typed} - 1; i >= 0; i--)); do
        if [[ $ends == *"${typed:i:1}"* && $COMP_WORDBREAKS == *"${typed:i:1}"* ]]; then
            kept=${typed:0:i+1}
            break
        fi
    done

    COMPREPLY=()
    for word in "${answer[@]:1}"; do
        word=${word%%$'\t'*}
        COMPREPLY+=("${word#"$kept"}")
    done

    local told=" ${answer[0]#:} " value=$typed files=()
    [[ $typed == -*=* ]] && value=${typed#*=}
    case $told in
        *' files '*) mapfile -t files < <(compgen -f -- "$value") ;;
        *' directories '*) mapfile -t files < <(compgen -d -- "$value") ;;
    esac
    if ((${#COMPREPLY[@]} == 0 && ${#files[@]} > 0)); then
        COMPREPLY=("${files[@]}")
        compopt -o filenames 2>/dev/null
    else
        for word in "${files[@]}"; do
            [[ -d $word ]] && word+=/ && told+=' nospace '
            COMPREPLY+=("$word")
        done
    fi
    [[ $told == *' nospace '* ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _brig brig
