# bash completion for volbridge. The program itself knows its commands, and the
# domains, pools and volumes of this host.

_volbridge() {
	local candidate
	COMPREPLY=()
	while IFS=$'\t' read -r candidate _; do
		case $candidate in
		:files)
			compopt -o filenames 2>/dev/null
			mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${COMP_WORDS[COMP_CWORD]#=}")
			;;
		*)
			# A pool: its volume comes next, without a blank.
			[[ $candidate != */ ]] || compopt -o nospace 2>/dev/null
			printf -v candidate %q "$candidate"
			COMPREPLY+=("$candidate")
			;;
		esac
	done < <(command volbridge complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}

complete -F _volbridge volbridge
